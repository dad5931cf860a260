//! The clock of the machine.

use hob_model::Timestamp;
use hob_primitive::Clock;

/// The clock of the machine, to the microsecond.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place where time comes from
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

/// Ten random bytes for a new run id.
#[must_use]
pub fn entropy() -> [u8; 10] {
    let mut bytes = [0; 10];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Without randomness ids could be doubled, and an id is a key for effects in the world.
        tracing::error!(%error, "the system gives no random bytes");
        std::process::abort();
    }
    bytes
}
