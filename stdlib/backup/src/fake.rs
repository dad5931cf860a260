//! Repositories in memory that fail where a test says so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hob_model::OpError;

use crate::location::Location;
use crate::port::{Area, Backups, Login, Owner, Store};

/// The boot of the machine.
const BOOT: &str = "6f1b0c1e-0000-4000-8000-000000000001";

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Listing files.
    List,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Removing a file.
    Remove,
}

/// One fault: from the `after`-th such act on, all fail.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What fails.
    pub act: Act,
    /// Where.
    pub area: Area,
    /// How many go well before.
    pub after: usize,
    /// How they fail.
    pub error: OpError,
}

type Files = BTreeMap<(Area, String), Bytes>;

#[derive(Default)]
struct Inner {
    repositories: BTreeMap<String, Files>,
    faults: BTreeMap<String, Vec<Fault>>,
    running: Vec<u32>,
    asked: u64,
}

/// Repositories in memory.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    /// No repositories, no faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets acts on a repository fail.
    pub fn break_at(&self, location: &str, fault: Fault) {
        self.inner().faults.entry(location.to_owned()).or_default().push(fault);
    }

    /// Takes all faults away.
    pub fn mend(&self) {
        self.inner().faults.clear();
    }

    /// The names of the files in one folder of a repository.
    #[must_use]
    pub fn names(&self, location: &str, area: Area) -> Vec<String> {
        let inner = self.inner();
        let files = inner.repositories.get(location).into_iter().flatten();
        files.filter(|((it, _), _)| *it == area).map(|((_, name), _)| name.clone()).collect()
    }

    /// Puts a file into a repository as it is.
    pub fn put(&self, location: &str, area: Area, name: &str, content: &[u8]) {
        let mut inner = self.inner();
        let files = inner.repositories.entry(location.to_owned()).or_default();
        files.insert((area, name.to_owned()), Bytes::copy_from_slice(content));
    }

    /// A file of a repository as it is.
    #[must_use]
    pub fn get(&self, location: &str, area: Area, name: &str) -> Option<Bytes> {
        self.inner().repositories.get(location)?.get(&(area, name.to_owned())).cloned()
    }

    /// Says which processes of this machine run beside this one.
    pub fn set_running(&self, pids: &[u32]) {
        self.inner().running = pids.to_vec();
    }
}

/// The number of this process, to those who ask the fake.
pub const OWN_PID: u32 = 4711;

impl Backups for Fake {
    fn open(&self, location: &Location, _: Login) -> Result<Arc<dyn Store>, OpError> {
        Ok(Arc::new(FakeStore { fake: self.clone(), location: location.to_string() }))
    }

    fn owner(&self) -> Owner {
        Owner { hostname: "house".into(), username: "ada".into(), uid: 1000, gid: 1000, pid: OWN_PID }
    }

    fn is_running(&self, pid: u32) -> bool {
        pid == OWN_PID || self.inner().running.contains(&pid)
    }

    fn boot(&self) -> Result<String, OpError> {
        Ok(BOOT.to_owned())
    }

    /// A second passes whenever it is asked.
    fn elapsed(&self) -> Duration {
        let mut inner = self.inner();
        inner.asked += 1;
        Duration::from_secs(inner.asked)
    }
}

struct FakeStore {
    fake: Fake,
    location: String,
}

impl std::fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fake({})", self.location)
    }
}

impl FakeStore {
    /// The files, unless a fault strikes.
    fn files<T>(&self, act: Act, area: Area, work: impl FnOnce(&mut Files) -> T) -> Result<T, OpError> {
        let mut inner = self.fake.inner();
        for fault in inner.faults.get_mut(&self.location).into_iter().flatten() {
            if fault.act == act && fault.area == area {
                if fault.after == 0 {
                    return Err(fault.error.clone());
                }
                fault.after -= 1;
            }
        }
        Ok(work(inner.repositories.entry(self.location.clone()).or_default()))
    }
}

fn key(area: Area, name: &str) -> (Area, String) {
    (area, if area == Area::Config { area.as_str() } else { name }.to_owned())
}

impl Store for FakeStore {
    fn create(&self) -> Result<(), OpError> {
        Ok(())
    }

    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError> {
        self.files(Act::List, area, |files| {
            let of_area = files.iter().filter(|((it, _), _)| *it == area);
            of_area.map(|((_, name), content)| (name.clone(), content.len() as u64)).collect()
        })
    }

    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError> {
        let content = self.files(Act::Read, area, |files| files.get(&key(area, name)).cloned())?;
        let content =
            content.ok_or_else(|| OpError::not_found(format!("{}/{name} is not there", area.as_str())))?;
        let Some(range) = range else { return Ok(content) };
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match bounds {
            Some((start, end)) if end <= content.len() => Ok(content.slice(start..end)),
            _ => Err(OpError::failed(format!("{name} is shorter than the index says"))),
        }
    }

    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError> {
        self.files(Act::Write, area, |files| {
            files.insert(key(area, name), content.concat().into());
        })
    }

    fn remove(&self, area: Area, name: &str) -> Result<(), OpError> {
        self.files(Act::Remove, area, |files| {
            files.remove(&key(area, name));
        })
    }
}
