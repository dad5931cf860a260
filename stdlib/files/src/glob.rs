//! Patterns of paths: `*.log`, `media/**/*.{mkv,mp4}`.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use hob_model::OpError;

use crate::port::{FilesPort, Kind};
use crate::problem::{Watch, is_absent};
use crate::walk::{DEPTH_MAX, ENTRIES_MAX, Walk};

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// A pattern, taken apart.
pub(crate) struct Pattern {
    /// The directory from which on there are wildcards.
    base: PathBuf,
    /// How deep a match can be below it.
    depth_max: usize,
    matcher: GlobMatcher,
    /// Whether some part of the pattern asks for names with a leading dot.
    asks_hidden: bool,
}

impl Pattern {
    /// The pattern, made absolute.
    pub(crate) fn new(pattern: &Path, hidden: bool) -> Result<Self, OpError> {
        let text = pattern.to_string_lossy();
        if text.len() > PATTERN_BYTES_MAX {
            return Err(OpError::invalid(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
        }
        let matcher = GlobBuilder::new(&text)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(|error| OpError::invalid(format!("the pattern {}", error)))?
            .compile_matcher();
        let is_wild = |part: &str| part.contains(['*', '?', '[', '{', '\\']);
        let parts: Vec<Component<'_>> = pattern.components().collect();
        let fixed = parts.iter().take_while(|part| !is_wild(&part.as_os_str().to_string_lossy())).count();
        // Without a wildcard the last part is still looked for.
        let fixed = fixed.min(parts.len().saturating_sub(1));
        let wild = &parts[fixed..];
        let text_of = |part: &Component<'_>| part.as_os_str().to_string_lossy().into_owned();
        let unbounded = wild.iter().any(|part| text_of(part).contains("**")) || text.contains('{');
        Ok(Self {
            base: parts[..fixed].iter().collect(),
            depth_max: if unbounded { DEPTH_MAX + 1 } else { wild.len() },
            matcher,
            asks_hidden: hidden || wild.iter().any(|part| text_of(part).starts_with('.')),
        })
    }

    /// The paths that match and their kinds, in the order of a walk.
    pub(crate) fn find(&self, port: &dyn FilesPort, watch: &Watch) -> Result<Vec<(PathBuf, Kind)>, OpError> {
        match port.stat(&self.base, true) {
            Ok(meta) if meta.kind == Kind::Directory => {}
            Ok(_) => return Ok(Vec::new()),
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(crate::problem::fault(&error, &self.base)),
        }
        let is_shown = |path: &Path| self.asks_hidden || !is_hidden(path);
        let walk = Walk { depth_max: self.depth_max, entries_max: ENTRIES_MAX, enter: &is_shown };
        let found = walk.collect(port, &self.base, watch)?;
        let shown = found.into_iter().filter(|it| is_shown(&it.relative));
        let paths = shown.map(|it| (self.base.join(&it.relative), it.meta.kind));
        Ok(paths.filter(|(path, _)| self.matcher.is_match(path)).collect())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
