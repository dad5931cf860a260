//! Reading scripts from disk: the rim's part of making a bundle.

#![allow(clippy::disallowed_methods)] // the rim: scripts are read here

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_daemon::settings::{Beside, Settings};
use hob_engine::bundle::SOURCE_BYTES_MAX;
use hob_engine::{Base, Bundle, Loader};
use hob_model::{Code, Diagnostic};

use crate::assemble;
use crate::context::{Exit, Failure, absolute, home};

/// The file that a homelab's directory must have.
pub(crate) const HOMELAB_FILE: &str = "homelab.rhai";

/// Reads files below a directory.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Loader for Directory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = std::fs::File::open(self.0.join(path)).map_err(|error| plain(&error))?;
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to see that it is too large.
        file.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| plain(&error))?;
        Ok(bytes)
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Remembers the texts that were read, so that problems can show their lines.
struct Remembering<'a> {
    inner: &'a Directory,
    texts: std::cell::RefCell<BTreeMap<String, Arc<str>>>,
}

impl Loader for Remembering<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.inner.read(path)?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            self.texts.borrow_mut().insert(path.to_owned(), Arc::from(text));
        }
        Ok(bytes)
    }

    fn has(&self, path: &str) -> bool {
        self.inner.has(path)
    }
}

/// A script with everything it imports, and whether it may do more than compute.
pub(crate) struct Loaded {
    /// The sources.
    pub bundle: Arc<Bundle>,
    /// Whether only the caller or root can have written it.
    pub trusted: bool,
    /// What the `hob.toml` beside it says.
    pub settings: Settings,
}

/// This machine's name.
#[must_use]
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads the script at `path`; `-` is standard input.
///
/// # Errors
/// All problems of the script and of what it imports, with their sources.
pub(crate) fn load(path: &str) -> Result<Loaded, Failure> {
    if path == "-" {
        let mut text = String::new();
        let stdin = std::io::stdin().lock();
        stdin.take(SOURCE_BYTES_MAX as u64).read_to_string(&mut text).map_err(|error| {
            Failure::from(Diagnostic::error(
                Code::UnreadableScript,
                format!("standard input: {}", plain(&error)),
            ))
        })?;
        return check("stdin.rhai", &text, &crate::context::cwd().to_string_lossy());
    }
    let file = absolute(Path::new(path));
    let (dir, name) = match (file.parent(), file.file_name()) {
        (Some(dir), Some(name)) => (dir.to_path_buf(), name.to_string_lossy().into_owned()),
        _ => return Err(Failure::usage(format!("`{path}` is no file"))),
    };
    let bundle = collect(&dir, &name)?;
    let settings = settings(&dir, &bundle)?;
    Ok(Loaded { trusted: only_owner_writes(&dir, bundle.files().map(|(path, _)| path)), bundle, settings })
}

/// Reads the homelab in `dir`.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_homelab(dir: &Path) -> Result<Loaded, Failure> {
    let dir = absolute(dir);
    if dir.is_file() {
        return load(&dir.to_string_lossy());
    }
    if !dir.join(HOMELAB_FILE).exists() {
        return Err(Diagnostic::error(
            Code::UnreadableScript,
            format!("there is no {HOMELAB_FILE} in {}", dir.display()),
        )
        .hint("name the directory of your homelab; `examples/quickstart` is one to begin with")
        .into());
    }
    load(&dir.join(HOMELAB_FILE).to_string_lossy())
}

/// Reads a file of tests at `path` below `dir`.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_tests(dir: &Path, path: &str) -> Result<Arc<Bundle>, Failure> {
    collect(dir, path)
}

/// A text that stands in no file. It may do nothing but compute, unless the caller says more.
///
/// # Errors
/// When it does not parse.
pub(crate) fn check(name: &str, text: &str, origin: &str) -> Result<Loaded, Failure> {
    struct Single<'a>(&'a str, &'a str);
    impl Loader for Single<'_> {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            if path == self.0 {
                Ok(self.1.as_bytes().to_vec())
            } else {
                Err("a text that stands in no file imports nothing".to_owned())
            }
        }
    }
    match Bundle::collect(name, origin, &host_name(), &Single(name, text), &assemble::registry()) {
        Ok(bundle) => Ok(Loaded { bundle: Arc::new(bundle), trusted: false, settings: Settings::default() }),
        Err(diagnostics) => {
            let sources = BTreeMap::from([(name.to_owned(), Arc::from(text))]);
            Err(Failure { diagnostics, sources, exit: Exit::Failed })
        }
    }
}

fn collect(dir: &Path, name: &str) -> Result<Arc<Bundle>, Failure> {
    let directory = Directory(dir.to_path_buf());
    let loader = Remembering { inner: &directory, texts: Default::default() };
    match Bundle::collect(name, &dir.to_string_lossy(), &host_name(), &loader, &assemble::registry()) {
        Ok(bundle) => Ok(Arc::new(bundle)),
        Err(diagnostics) => {
            Err(Failure { diagnostics, sources: loader.texts.into_inner(), exit: Exit::Failed })
        }
    }
}

fn settings(dir: &Path, bundle: &Bundle) -> Result<Settings, Failure> {
    let home = home();
    let beside = Beside {
        base: Base { directory: dir, home: home.as_deref() },
        registry: &assemble::registry(),
        exists: &|path| dir.join(path).exists(),
    };
    Settings::of(bundle, &beside).map_err(|diagnostics| {
        let sources = bundle.files().map(|(path, text)| (path.to_owned(), Arc::clone(text))).collect();
        Failure { diagnostics, sources, exit: Exit::Failed }
    })
}

/// Whether the files and their directories can be written only by their owner, who is root or the caller.
fn only_owner_writes<'a>(dir: &Path, files: impl Iterator<Item = &'a str>) -> bool {
    let caller = rustix::process::geteuid().as_raw();
    let safe = |path: &Path| {
        std::fs::metadata(path)
            .is_ok_and(|meta| (meta.uid() == 0 || meta.uid() == caller) && meta.mode() & 0o022 == 0)
    };
    let mut files = files.map(|file| dir.join(file));
    files.all(|file| safe(&file) && file.parent().is_none_or(safe))
}
