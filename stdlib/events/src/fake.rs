//! A bus in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hob_model::{OpError, Timestamp, Value};
use hob_primitive::{BusEvent, EventBus};

/// A bus that forgets its events when it goes, for tests and for processes without a journal. It stands still at the
/// beginning of the epoch, and can be told to fail.
#[derive(Debug, Default)]
pub struct MemoryBus {
    events: Mutex<Vec<BusEvent>>,
    fails: AtomicBool,
}

impl MemoryBus {
    /// From now on nothing can be recorded or read; or it can again.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn known(&self) -> Result<MutexGuard<'_, Vec<BusEvent>>, OpError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(OpError::unavailable("the event bus: told to fail"));
        }
        Ok(self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl EventBus for MemoryBus {
    fn emit(&self, name: &str, payload: Value, origin: &str) -> Result<(), OpError> {
        hob_model::event::check(name, &payload)?;
        let mut events = self.known()?;
        let (id, name, origin) = (number(events.len()) + 1, name.to_owned(), origin.to_owned());
        events.push(BusEvent { id, name, payload, origin, at: Timestamp::UNIX_EPOCH });
        Ok(())
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<BusEvent>, OpError> {
        Ok(self.known()?.iter().filter(|event| event.id > after).take(limit).cloned().collect())
    }

    fn last(&self) -> Result<u64, OpError> {
        Ok(number(self.known()?.len()))
    }
}
