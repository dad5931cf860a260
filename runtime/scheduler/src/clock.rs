//! What happened to the machine's clock between two looks at it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The smallest difference between the clocks that counts; what time synchronisation slews stays below it.
pub const STEP_MILLIS_MIN: u64 = 1_000;

/// Time synchronisation slews by at most one part in this many (Linux: 500 parts in a million).
const SLEW_PARTS: u32 = 2_000;

/// The three clocks of a machine, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The time of day, which can be set (`CLOCK_REALTIME`).
    pub wall: Timestamp,
    /// The time since the start of the machine (`CLOCK_BOOTTIME`).
    pub boot: Duration,
    /// The same without the time in which the machine was suspended (`CLOCK_MONOTONIC`).
    pub monotonic: Duration,
}

/// What happened between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockChange {
    /// By how much the time of day was set forward, or back if negative; zero if it was not.
    pub stepped: SignedDuration,
    /// How long the machine was suspended; zero if it was not.
    pub suspended: Duration,
}

impl Clocks {
    /// What happened between `earlier`, read since the machine last started, and these.
    #[must_use]
    pub fn change_since(&self, earlier: &Self) -> ClockChange {
        let elapsed = self.boot.saturating_sub(earlier.boot);
        let awake = self.monotonic.saturating_sub(earlier.monotonic);
        let least = Duration::from_millis(STEP_MILLIS_MIN).max(elapsed / SLEW_PARTS);
        let passed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        let stepped = earlier.wall.duration_until(self.wall).saturating_sub(passed);
        let suspended = elapsed.saturating_sub(awake);
        ClockChange {
            stepped: if stepped.unsigned_abs() >= least { stepped } else { SignedDuration::ZERO },
            suspended: if suspended >= least { suspended } else { Duration::ZERO },
        }
    }
}
