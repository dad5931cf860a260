//! What is left out, and why.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobMatcher};
use hob_model::OpError;
use hob_primitive::Size;

/// The most patterns of one backup.
const PATTERNS_MAX: usize = 1000;

/// How the file begins that marks caches, in a directory, as `CACHEDIR.TAG`
/// (<https://bford.info/cachedir/>).
pub(super) const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The rules of one backup.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excludes {
    patterns: Vec<(String, GlobMatcher)>,
    /// Names of files that say of their directory that its content is left out.
    pub(super) markers: Vec<String>,
    /// Whether directories are left out that mark themselves as caches.
    pub(super) caches: bool,
    /// Files larger than this are left out; bytes.
    larger_than: Option<u64>,
    /// Whether what is mounted below stays out.
    pub(super) one_file_system: bool,
}

impl Excludes {
    /// Reads the rules. A pattern without a slash fits names at any depth, one with a slash paths from the root of what is
    /// backed up on or, when it begins with one, from the root of the file system.
    ///
    /// # Errors
    /// `invalid` for what is no pattern.
    pub(crate) fn new(
        patterns: &[String],
        markers: Vec<String>,
        caches: bool,
        larger_than: Option<Size>,
        one_file_system: bool,
    ) -> Result<Self, OpError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(OpError::invalid(format!("more than {PATTERNS_MAX} patterns")));
        }
        let patterns = patterns.iter().map(|text| Ok((text.clone(), glob(text)?.compile_matcher())));
        let patterns = patterns.collect::<Result<_, OpError>>()?;
        let larger_than = larger_than.map(|size| size.0);
        Ok(Self { patterns, markers, caches, larger_than, one_file_system })
    }

    /// Why an entry is left out. `path` is absolute, `below` starts at the root of what is backed up.
    pub(super) fn reason(&self, path: &Path, below: &Path) -> Option<String> {
        let fits = |(text, glob): &&(String, GlobMatcher)| match text {
            text if text.starts_with('/') => glob.is_match(path),
            text if text.trim_end_matches('/').contains('/') => glob.is_match(below),
            _ => path.file_name().is_some_and(|name| glob.is_match(name)),
        };
        let (text, _) = self.patterns.iter().find(fits)?;
        Some(format!("the pattern `{text}`"))
    }

    /// Why a file of this size is left out.
    pub(super) fn too_large(&self, bytes: u64) -> Option<String> {
        let limit = self.larger_than.filter(|limit| bytes > *limit)?;
        Some(format!("larger than {limit} bytes"))
    }
}

/// `pattern` as a glob: `*` stays within a name, `**` goes through directories.
///
/// # Errors
/// `invalid`, with the pattern.
pub(crate) fn glob(pattern: &str) -> Result<Glob, OpError> {
    let plain = pattern.trim_end_matches('/');
    if plain.is_empty() {
        return Err(OpError::invalid(format!("the pattern `{pattern}` is empty")));
    }
    GlobBuilder::new(plain).literal_separator(true).build().map_err(|error| {
        OpError::invalid(format!("`{pattern}` is no pattern: {}", error.kind()))
            .hint("such as \"*.tmp\", \"cache/**\" or \"/var/cache\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_paths_below_and_whole_paths() {
        let cases = [
            ("*.tmp", "/srv/app/x/y.tmp", true),
            ("*.tmp", "/srv/app/x/y.tmpl", false),
            ("cache", "/srv/app/cache", true),
            ("cache/", "/srv/app/deep/cache", true),
            ("x/cache", "/srv/app/x/cache", true),
            ("x/cache", "/srv/app/y/x/cache", false),
            ("**/x/cache", "/srv/app/y/x/cache", true),
            ("x/*", "/srv/app/x/y/z", false),
            ("/srv/app/x", "/srv/app/x", true),
            ("/srv/*/x", "/srv/app/x", true),
            ("/x", "/srv/app/x", false),
            ("[ab].txt", "/srv/app/a.txt", true),
        ];
        for (pattern, path, expected) in cases {
            let rules = Excludes::new(&[pattern.to_owned()], Vec::new(), false, None, false).unwrap();
            let path = Path::new(path);
            let below = path.strip_prefix("/srv/app").unwrap();
            assert_eq!(rules.reason(path, below).is_some(), expected, "{pattern} on {}", path.display());
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["", "/", "[a"] {
            let error = Excludes::new(&[pattern.to_owned()], Vec::new(), false, None, false).unwrap_err();
            assert!(error.message.contains(&format!("`{pattern}`")), "{error}");
        }
    }
}
