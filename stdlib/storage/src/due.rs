//! What a cleanup removes: pure, from what a walk found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobSet;

use crate::mover::select::{Found, since};
use crate::tier::Time;

/// A file that goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) reason: &'static str,
}

/// What is to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) include: Option<GlobSet>,
    pub(crate) exclude: Option<GlobSet>,
    pub(crate) age: Option<Duration>,
    /// How many of the newest stay.
    pub(crate) keep: Option<u64>,
    /// How large all may be together.
    pub(crate) bytes_max: Option<u64>,
    /// How much of the file system is to be free.
    pub(crate) bytes_free: Option<u64>,
    pub(crate) removed_max: u64,
    pub(crate) removed_bytes_max: u64,
}

impl Policy {
    fn takes(&self, path: &Path) -> bool {
        self.include.as_ref().is_none_or(|it| it.is_match(path))
            && !self.exclude.as_ref().is_some_and(|it| it.is_match(path))
    }

    /// What goes, the oldest first, and what ended it early; `free` bytes are free now.
    pub(crate) fn due(
        &self,
        mut found: Vec<Found>,
        free: u64,
        now: Time,
    ) -> (Vec<Due>, Option<&'static str>) {
        found.retain(|it| self.takes(&it.path));
        found.sort_by(|a, b| (a.meta.modified, &a.path).cmp(&(b.meta.modified, &b.path)));
        let mut files_left = found.len() as u64;
        let mut bytes_left: u64 = found.iter().map(|it| it.meta.size).sum();
        let (mut free, mut removed_bytes) = (free, 0_u64);
        let mut due = Vec::new();
        for Found { path, meta } in found {
            let rules = [
                (self.age.is_some_and(|age| since(meta.modified, now) >= age), "it is older than `age`"),
                (self.keep.is_some_and(|keep| files_left > keep), "there are more than `keep`"),
                (self.bytes_max.is_some_and(|max| bytes_left > max), "all are larger than `max_size`"),
                (self.bytes_free.is_some_and(|wanted| free < wanted), "less than `free` is free"),
            ];
            let Some((_, reason)) = rules.into_iter().find(|(goes, _)| *goes) else { continue };
            removed_bytes = removed_bytes.saturating_add(meta.size);
            if due.len() as u64 >= self.removed_max || removed_bytes > self.removed_bytes_max {
                return (due, Some("`max_files` or `max_bytes` was reached"));
            }
            files_left -= 1;
            bytes_left -= meta.size;
            // A file with more names frees nothing.
            free += if meta.links == 1 { meta.allocated } else { 0 };
            due.push(Due { path, bytes: meta.size, reason });
        }
        (due, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::{Kind, Meta};

    /// Files of 100 bytes, by name and age in seconds.
    fn files(all: &[(&str, i64)]) -> Vec<Found> {
        let file = |(path, age): &(&str, i64)| {
            let time = Time { seconds: 1_000_000 - age, nanos: 0 };
            let meta = Meta {
                kind: Kind::File,
                size: 100,
                allocated: 4096,
                mode: 0o644,
                uid: 0,
                gid: 0,
                accessed: time,
                modified: time,
                changed: time,
                device: 1,
                inode: 1,
                links: 1,
            };
            Found { path: (*path).into(), meta }
        };
        all.iter().map(file).collect()
    }

    #[test]
    fn rules_take_the_oldest_first() {
        let all = [("new", 10), ("old", 1000), ("middle", 500), ("keep/older", 2000)];
        let any = Policy { removed_max: 99, removed_bytes_max: u64::MAX, ..Policy::default() };
        let exclude = crate::mover::select::patterns(&["/keep".to_owned()]).unwrap_or_default();
        let cases: [(Policy, &[&str], bool); 9] = [
            (any.clone(), &[], false),
            (
                Policy { age: Some(Duration::from_secs(500)), ..any.clone() },
                &["keep/older", "old", "middle"],
                false,
            ),
            (Policy { keep: Some(3), ..any.clone() }, &["keep/older"], false),
            (Policy { keep: Some(0), exclude, ..any.clone() }, &["old", "middle", "new"], false),
            (Policy { bytes_max: Some(250), ..any.clone() }, &["keep/older", "old"], false),
            (Policy { bytes_free: Some(5000), ..any.clone() }, &["keep/older", "old"], false),
            (Policy { bytes_free: Some(10), ..any.clone() }, &[], false),
            (Policy { keep: Some(0), removed_max: 2, ..any.clone() }, &["keep/older", "old"], true),
            (Policy { keep: Some(0), removed_bytes_max: 150, ..any }, &["keep/older"], true),
        ];
        for (policy, expected, is_stopped) in cases {
            let (due, stopped) = policy.due(files(&all), 100, Time { seconds: 1_000_000, nanos: 0 });
            let paths: Vec<&str> = due.iter().filter_map(|it| it.path.to_str()).collect();
            assert_eq!((paths.as_slice(), stopped.is_some()), (expected, is_stopped), "{policy:?}");
        }
    }
}
