//! Files that go to an engine: the context of a build, and archives of images.

#![allow(clippy::disallowed_methods)] // it reads the files that a script names, for the engine

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use hob_model::OpError;
use tokio_util::io::ReaderStream;

use crate::port::{EngineError, Fault, PortStream};

/// The largest context of a build, 512 MiB: it is kept in memory.
pub(crate) const CONTEXT_BYTES_MAX: u64 = 512 << 20;

/// How many lines of `.dockerignore` are read.
const RULES_MAX: usize = 1000;

/// An archive as a stream.
///
/// # Errors
/// When it cannot be opened.
pub(crate) async fn file(path: PathBuf) -> Result<PortStream<Bytes>, OpError> {
    let shown = path.display().to_string();
    let file =
        tokio::fs::File::open(&path).await.map_err(|error| OpError::io(&error, &shown).nothing_happened())?;
    let lost = move |error: io::Error| EngineError::new(Fault::Other, format!("{shown}: {error}"));
    Ok(Box::pin(ReaderStream::new(file).map_err(lost)))
}

/// The directory `root` as a tar archive, without what its `.dockerignore` names.
///
/// # Errors
/// When it cannot be read, is too large, or has no `dockerfile`.
pub(crate) async fn archive(root: PathBuf, dockerfile: String) -> Result<Bytes, OpError> {
    let packed = tokio::task::spawn_blocking(move || pack(&root, &dockerfile)).await;
    packed.unwrap_or_else(|error| Err(OpError::failed(error.to_string()))).map_err(OpError::nothing_happened)
}

fn pack(root: &Path, dockerfile: &str) -> Result<Bytes, OpError> {
    if !root.is_dir() {
        return Err(OpError::not_found(format!("{}: there is no such directory", root.display())));
    }
    if !root.join(dockerfile).is_file() {
        let missing = OpError::not_found(format!("{} has no {dockerfile}", root.display()));
        return Err(missing.hint("name the file in `dockerfile`, relative to the directory"));
    }
    let rules = match fs::read_to_string(root.join(".dockerignore")) {
        Ok(text) => rules(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(OpError::io(&error, root.join(".dockerignore").display())),
    };
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    let mut left = CONTEXT_BYTES_MAX;
    let keep = |path: &Path| path == Path::new(dockerfile) || !ignored(&rules, path);
    add(&mut archive, root, Path::new(""), &keep, &mut left)?;
    let bytes = archive.into_inner().map_err(|error| OpError::io(&error, root.display()))?;
    Ok(Bytes::from(bytes))
}

fn add(
    archive: &mut tar::Builder<Vec<u8>>,
    root: &Path,
    dir: &Path,
    keep: &dyn Fn(&Path) -> bool,
    left: &mut u64,
) -> Result<(), OpError> {
    let problem = |path: &Path, error: io::Error| OpError::io(&error, path.display());
    let full = root.join(dir);
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(&full).and_then(Iterator::collect).map_err(|error| problem(&full, error))?;
    // The same directory is the same archive, so that the engine finds its layers again.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), dir.join(entry.file_name()));
        let meta = fs::symlink_metadata(&path).map_err(|error| problem(&path, error))?;
        if meta.is_dir() {
            // What is in it may be wanted although it is not.
            add(archive, root, &name, keep, left)?;
            continue;
        }
        if !keep(&name) {
            continue;
        }
        if !meta.is_file() && !meta.is_symlink() {
            return Err(OpError::invalid(format!("{}: neither a file nor a link", path.display()))
                .hint("name it in .dockerignore"));
        }
        *left = left.checked_sub(meta.len()).ok_or_else(|| {
            OpError::invalid(format!("{} is larger than {CONTEXT_BYTES_MAX} bytes", root.display()))
                .hint("name what the build does not need in .dockerignore")
        })?;
        archive.append_path_with_name(&path, &name).map_err(|error| problem(&path, error))?;
    }
    Ok(())
}

/// A line of `.dockerignore`.
struct Rule {
    path: GlobMatcher,
    /// Whether it takes back what an earlier line names.
    wanted: bool,
}

/// Reads `.dockerignore` as Docker does: patterns from the root, `**` for any directories, `!` for exceptions.
fn rules(text: &str) -> Result<Vec<Rule>, OpError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let (wanted, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
        let glob = GlobBuilder::new(pattern.trim_matches('/')).literal_separator(true).build();
        let glob = glob.map_err(|error| OpError::invalid(format!(".dockerignore: {error}")))?;
        Ok(Rule { path: glob.compile_matcher(), wanted })
    };
    lines.take(RULES_MAX).map(read).collect()
}

/// The last rule that names a path, or a directory above it, decides.
fn ignored(rules: &[Rule], path: &Path) -> bool {
    let named =
        |rule: &&Rule| path.ancestors().any(|part| !part.as_os_str().is_empty() && rule.path.is_match(part));
    rules.iter().rev().find(named).is_some_and(|rule| !rule.wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_ignored() {
        let rules =
            rules("# comment\n*.log\nnode_modules/\n**/*.tmp\n!keep.log\ndocs\n!docs/*.md\n").unwrap();
        for (path, gone) in [
            ("a.log", true),
            ("keep.log", false),
            ("sub/a.log", false),
            ("node_modules/x/y", true),
            ("a/b/c.tmp", true),
            ("docs/a.txt", true),
            ("docs/a.md", false),
            ("src/main.rs", false),
        ] {
            assert_eq!(ignored(&rules, Path::new(path)), gone, "{path}");
        }
    }
}
