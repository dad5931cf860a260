//! When a file is whole: it has not changed for a while.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed last, in nanoseconds since the epoch.
    pub modified: i128,
    /// The file itself, whatever its name.
    pub inode: (u64, u64),
}

impl Signature {
    /// As a text for the journal.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}:{}:{}:{}", self.size, self.modified, self.inode.0, self.inode.1)
    }
}

/// A file that matches a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its path, absolute.
    pub path: PathBuf,
    /// How it was when it was looked at.
    pub signature: Signature,
}

/// The files that are about to become whole. Times are those of a clock that nobody sets.
#[derive(Debug, Default)]
pub struct Settling(HashMap<PathBuf, (Signature, Duration)>);

impl Settling {
    /// Takes note of the files that are there, of which `is_known` need not be looked at; those that have not changed for
    /// `settle`, and when to look again.
    pub fn look(
        &mut self,
        seen: Vec<Seen>,
        is_known: impl Fn(&Seen) -> bool,
        settle: Duration,
        now: Duration,
    ) -> (Vec<Seen>, Option<Duration>) {
        let mut before = std::mem::take(&mut self.0);
        let (mut whole, mut again) = (Vec::new(), None);
        for file in seen {
            if is_known(&file) {
                continue;
            }
            let unchanged = before.remove(&file.path).filter(|(signature, _)| *signature == file.signature);
            let since = unchanged.map_or(now, |(_, since)| since);
            let due = since.saturating_add(settle);
            self.0.insert(file.path.clone(), (file.signature, since));
            if due <= now {
                whole.push(file);
            } else {
                again = [again, Some(due)].into_iter().flatten().min();
            }
        }
        (whole, again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> Seen {
        Seen { path: path.into(), signature: Signature { size, modified: 0, inode: (1, 2) } }
    }

    #[test]
    fn a_file_is_whole_once_it_has_not_changed_for_a_while() {
        let mut settling = Settling::default();
        let seconds = Duration::from_secs;
        let mut look = |files: &[Seen], now: u64| {
            let known = |file: &Seen| file.path.ends_with("known");
            let (whole, again) = settling.look(files.to_vec(), known, seconds(5), seconds(now));
            let names: Vec<String> = whole.iter().map(|file| file.path.display().to_string()).collect();
            (names.join(" "), again.map(|again| again.as_secs()))
        };
        assert_eq!(look(&[file("known", 1)], 1), (String::new(), None));
        assert_eq!(look(&[file("a", 1), file("b", 1)], 10), (String::new(), Some(15)));
        // It grows, and so begins anew; the other one goes, comes again and begins anew, too.
        assert_eq!(look(&[file("a", 2)], 14), (String::new(), Some(19)));
        assert_eq!(look(&[file("a", 2), file("b", 1)], 18), (String::new(), Some(19)));
        assert_eq!(look(&[file("a", 2), file("b", 1)], 19), ("a".to_owned(), Some(23)));
        assert_eq!(look(&[file("a", 2), file("b", 1)], 30), ("a b".to_owned(), None));
    }
}
