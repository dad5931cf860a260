//! The clocks of the machine.

use std::time::Duration;

use hob_model::Timestamp;
use hob_primitive::Clock;
use hob_scheduler::Clocks;
use rustix::time::{ClockId, Timespec, clock_gettime};

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

/// What a machine tells of its clocks, beside the time of day.
pub trait Machine: Send + Sync {
    /// All its clocks, read at one moment.
    fn clocks(&self) -> Clocks;

    /// Whether its time of day is known to be right; `None` where nobody can tell.
    fn synchronised(&self) -> Option<bool>;
}

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

/// The directory of systemd-timesyncd, and the file that it makes there once the clock is set
/// (systemd-time-wait-sync.service(8) waits for it).
const TIMESYNC: &str = "/run/systemd/timesync";
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

impl Machine for ThisMachine {
    fn clocks(&self) -> Clocks {
        let read = |id| {
            let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
            let seconds = u64::try_from(tv_sec).unwrap_or(0);
            Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or(0))
        };
        let (boot, monotonic) = (read(ClockId::Boottime), read(ClockId::Monotonic));
        Clocks { wall: SystemClock.now(), boot, monotonic }
    }

    #[allow(clippy::disallowed_methods)] // this is where the machine is asked
    fn synchronised(&self) -> Option<bool> {
        // Where another program sets the clock nobody tells by a file.
        std::path::Path::new(TIMESYNC).exists().then(|| std::path::Path::new(SYNCHRONISED).exists())
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
