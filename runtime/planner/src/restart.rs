//! When a service that ended, or was changed, is started again.

use std::time::Duration;

/// The pause before the first restart, unless the service says otherwise.
pub const BACKOFF: Duration = Duration::from_secs(1);

/// The longest pause between restarts, unless the service says otherwise.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows: hob was not its parent when it ended. Counts as a failure.
    Unknown,
}

impl Exit {
    /// From an exit code as shells count it: above 128 it tells of a signal, as far as there are signals; systemd has codes
    /// of its own above these.
    #[must_use]
    pub fn of_code(code: i64) -> Self {
        const SIGNALS: i32 = 128;
        const SIGNAL_MAX: i32 = 64;
        match i32::try_from(code) {
            Ok(code) if (1..=SIGNAL_MAX).contains(&(code - SIGNALS)) => Self::Signal(code - SIGNALS),
            Ok(code) => Self::Code(code),
            Err(_) => Self::Unknown,
        }
    }

    /// Whether it ended with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Unknown => f.write_str("ended while hob was not watching"),
        }
    }
}

/// Which endings call for a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// All.
    #[default]
    Always,
    /// All but code 0.
    OnFailure,
    /// None.
    Never,
}

impl Policy {
    /// All of them with their names in option maps.
    pub const ALL: [(&'static str, Self); 3] =
        [("always", Self::Always), ("on-failure", Self::OnFailure), ("never", Self::Never)];

    /// The name used in option maps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
    }
}

/// When a service that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Which endings call for it.
    pub policy: Policy,
    /// The pause before the first restart; each further one doubles it.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

/// What becomes of it when somebody changes a service that runs past hob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// It is made as declared again.
    #[default]
    Repair,
    /// It is told, and left until somebody brings the homelab up.
    Report,
}

impl OnDrift {
    /// All of them with their names in option maps.
    pub const ALL: [(&'static str, Self); 2] = [("repair", Self::Repair), ("report", Self::Report)];
}

/// The pause after a service was made as declared again, before that is done once more; each further one doubles it.
const REPAIR_BACKOFF: Duration = Duration::from_secs(30);

/// The longest such pause: whoever changes it each time is another controller, and neither is to go on for ever.
const REPAIR_BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);

impl Default for Restart {
    fn default() -> Self {
        Self { policy: Policy::default(), backoff: BACKOFF, backoff_max: BACKOFF_MAX }
    }
}

impl Restart {
    /// When a service that somebody changes again and again is made as declared again.
    pub const OF_REPAIRS: Self =
        Self { policy: Policy::Always, backoff: REPAIR_BACKOFF, backoff_max: REPAIR_BACKOFF_MAX };

    /// How long to wait before the next start, after an ending that `failures` other ones preceded since the service
    /// was last ready; `None` when it stays ended.
    ///
    /// ```
    /// use hob_planner::{Exit, Restart};
    /// let pauses: Vec<u64> = (0..8).map(|n| Restart::default().after(Exit::Code(1), n).unwrap().as_secs()).collect();
    /// assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    /// ```
    #[must_use]
    pub fn after(&self, exit: Exit, failures: u32) -> Option<Duration> {
        let wanted = match self.policy {
            Policy::Always => true,
            Policy::OnFailure => !exit.is_success(),
            Policy::Never => false,
        };
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        wanted.then(|| self.backoff.saturating_mul(factor).min(self.backoff_max))
    }
}
