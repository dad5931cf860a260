//! A mail server and a disk in memory, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::port::{Mail, MailError, NotifyPort, Sending};

/// Takes every mail and records it, unless it is told to fail.
#[derive(Default)]
pub struct FakeNotify {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    failures: VecDeque<(MailError, bool)>,
}

impl FakeNotify {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mails so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.clone()
    }

    /// Puts a file there.
    pub fn put(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) {
        self.state().files.insert(path.into(), content.into());
    }

    /// The next mail fails so; it arrives all the same where `taken`.
    pub fn fail(&self, error: MailError, taken: bool) {
        self.state().failures.push_back((error, taken));
    }
}

impl NotifyPort for FakeNotify {
    fn mail(&self, mail: Mail) -> Sending<'_> {
        Box::pin(async move {
            let mut state = self.state();
            let failure = state.failures.pop_front();
            if failure.as_ref().is_none_or(|(_, taken)| *taken) {
                state.mails.push(mail);
            }
            failure.map_or(Ok(()), |(error, _)| Err(error))
        })
    }

    fn file(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let content = self.state().files.get(path).cloned();
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        match content.len() as u64 > bytes_max {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large")),
            false => Ok(content),
        }
    }
}
