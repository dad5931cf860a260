//! restic's locks: read, honoured, and kept.
//!
//! A lock is a file in `locks/`, encrypted as all others, that names its owner and when it was written; a program that works
//! for long writes it anew. Many may share a repository; who removes packs wants it alone. A lock is stale, by restic's own
//! rule, when it is older than half an hour, or when its process is one of this machine and is gone: such a lock is removed.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use aes256ctr_poly1305aes::Aes256CtrPoly1305Aes;
use aes256ctr_poly1305aes::aead::Aead;
use bytes::Bytes;
use hob_model::{ErrorKind, OpError, Timestamp};
use rustic_core::repofile::MasterKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::guard::Watch;
use crate::port::{Area, Backups, Owner, Store};

/// How old a lock may become (`staleLockTimeout` of restic).
const STALE: Duration = Duration::from_secs(30 * 60);

/// How often it is written anew (`refreshInterval` of restic).
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// How long writing it anew may fail before the work ends: others take it for stale soon after.
const LOST: Duration = Duration::from_secs(20 * 60);

/// How long to wait before looking whether somebody else locked at the same moment (`waitBeforeLockCheck` of restic).
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long to wait before trying again what another lock forbids.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The largest lock that is read, in bytes.
const LOCK_BYTES_MAX: u64 = 64 << 10;

/// The nonce before encrypted content, in bytes.
const NONCE_BYTES: usize = 16;

/// The first byte of content that is compressed (restic's repositories of version 2).
const COMPRESSED: u8 = 2;

/// How a repository is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reads or adds: others may do the same.
    Shared,
    /// Reads only: without a lock where none can be written.
    Reading,
    /// Removes packs: nobody else may work.
    Alone,
}

/// What is in a lock (`Lock` in restic's `internal/restic/lock.go`).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Content {
    time: Timestamp,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

impl Content {
    fn is_stale(&self, now: Timestamp, backups: &dyn Backups) -> bool {
        let age = now.duration_since(self.time);
        let old = Duration::try_from(age).is_ok_and(|age| age > STALE);
        old || (self.hostname == backups.owner().hostname && !backups.is_running(self.pid))
    }
}

/// Encrypts and decrypts what is not a pack.
struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    fn new(key: &MasterKey) -> Self {
        let whole = [key.encrypt.as_slice(), &key.mac.k, &key.mac.r].concat();
        Self(Aes256CtrPoly1305Aes::new(aes256ctr_poly1305aes::Key::from_slice(&whole)))
    }

    fn seal(&self, text: &[u8]) -> Result<Vec<u8>, OpError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| OpError::unavailable(format!("no random: {error}")))?;
        let sealed = self.0.encrypt((&nonce).into(), text);
        let sealed = sealed.map_err(|_| OpError::failed("a lock cannot be encrypted"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Content> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let text = self.0.decrypt(nonce.into(), sealed).ok()?;
        match text.split_first()? {
            (&COMPRESSED, packed) => {
                let limit = usize::try_from(LOCK_BYTES_MAX).ok()?;
                serde_json::from_slice(&zstd::bulk::decompress(packed, limit).ok()?).ok()
            }
            _ => serde_json::from_slice(&text).ok(),
        }
    }
}

/// What locking needs.
struct Locks {
    store: Arc<dyn Store>,
    backups: Arc<dyn Backups>,
    watch: Arc<Watch>,
    cipher: Cipher,
    owner: Owner,
    exclusive: bool,
}

impl Locks {
    /// Writes a lock; its name.
    fn write(&self) -> Result<String, OpError> {
        let Owner { hostname, username, uid, gid, pid } = self.owner.clone();
        let time = self.watch.cx().now();
        let content = Content { time, exclusive: self.exclusive, hostname, username, pid, uid, gid };
        let text = serde_json::to_vec(&content).expect("a lock is plain data");
        let sealed = self.cipher.seal(&text)?;
        let name: String = Sha256::digest(&sealed).iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.write(Area::Locks, &name, &[Bytes::from(sealed)])?;
        Ok(name)
    }

    /// Whether another lock forbids what is wanted. Stale ones are removed.
    fn look(&self, own: Option<&str>) -> Result<(), OpError> {
        for (name, size) in self.store.list(Area::Locks)? {
            if Some(&*name) == own || size > LOCK_BYTES_MAX {
                continue;
            }
            let sealed = match self.store.read(Area::Locks, &name, None) {
                Ok(sealed) => sealed,
                // Its owner is done.
                Err(error) if error.kind == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // What cannot be read was cut off by a crash, or is none: restic passes over it, too.
            let Some(lock) = self.cipher.open(&sealed) else { continue };
            if lock.is_stale(self.watch.cx().now(), &*self.backups) {
                // One that stays forbids nothing.
                let _ = self.store.remove(Area::Locks, &name);
            } else if self.exclusive || lock.exclusive {
                return Err(conflict(&lock));
            }
        }
        Ok(())
    }
}

fn conflict(lock: &Content) -> OpError {
    let how = if lock.exclusive { " for itself alone" } else { "" };
    let text = format!(
        "the repository is locked{how} by process {} of {} on {} since {}",
        lock.pid, lock.username, lock.hostname, lock.time
    );
    let hint = "wait until it is done, with `wait`; one that will never be is taken away by `restic unlock`";
    OpError::conflict(text).hint(hint).retryable(true)
}

/// A lock that is held until it is dropped.
pub(crate) struct Lock {
    done: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Lock {
    /// Locks a repository, and waits for others `patience` long.
    ///
    /// # Errors
    /// `conflict`, retryable, when another lock forbids it.
    pub(crate) fn take(
        store: &Arc<dyn Store>,
        backups: &Arc<dyn Backups>,
        watch: &Arc<Watch>,
        key: &MasterKey,
        wanted: Use,
        patience: Duration,
    ) -> Result<Self, OpError> {
        let locks = Locks {
            store: Arc::clone(store),
            backups: Arc::clone(backups),
            watch: Arc::clone(watch),
            cipher: Cipher::new(key),
            owner: backups.owner(),
            exclusive: wanted == Use::Alone,
        };
        let begun = backups.elapsed();
        let name = loop {
            watch.check()?;
            match locks.look(None).and_then(|()| locks.write()) {
                Ok(name) => match settle(&locks, &name) {
                    Ok(()) => break name,
                    Err(error) => wait_for(&error, watch, backups, begun, patience)?,
                },
                Err(error) if wanted == Use::Reading && error.kind == ErrorKind::Denied => {
                    return Ok(Self { done: None, keeper: None });
                }
                Err(error) => wait_for(&error, watch, backups, begun, patience)?,
            }
        };
        let (done, end) = mpsc::channel();
        let keeper = std::thread::Builder::new().name("hob-lock".into()).spawn(move || {
            keep(&locks, name, &end);
        });
        let keeper =
            keeper.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
        Ok(Self { done: Some(done), keeper: Some(keeper) })
    }
}

/// Looks whether somebody else locked at the same moment; then neither has it.
fn settle(locks: &Locks, name: &str) -> Result<(), OpError> {
    let _ = locks.watch.cx().cancel().wait_timeout(LOOK_AGAIN);
    locks.look(Some(name)).inspect_err(|_| {
        let _ = locks.store.remove(Area::Locks, name);
    })
}

fn wait_for(
    error: &OpError,
    watch: &Watch,
    backups: &Arc<dyn Backups>,
    begun: Duration,
    patience: Duration,
) -> Result<(), OpError> {
    let waited = backups.elapsed().saturating_sub(begun);
    if error.kind != ErrorKind::Conflict || waited >= patience {
        return Err(error.clone());
    }
    let _ = watch.cx().cancel().wait_timeout(TRY_AGAIN.min(patience));
    watch.check()
}

/// Writes the lock anew until it is no longer wanted, and removes it.
fn keep(locks: &Locks, mut name: String, end: &mpsc::Receiver<()>) {
    let mut written = locks.backups.elapsed();
    while end.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
        match locks.write() {
            Ok(newer) => {
                let _ = locks.store.remove(Area::Locks, &std::mem::replace(&mut name, newer));
                written = locks.backups.elapsed();
            }
            Err(error) if locks.backups.elapsed().saturating_sub(written) > LOST => {
                locks.watch.end(error.hint("its lock on the repository could not be kept, so it ended"));
            }
            Err(_) => {}
        }
    }
    // One that stays is stale as soon as this process is gone.
    let _ = locks.store.remove(Area::Locks, &name);
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
