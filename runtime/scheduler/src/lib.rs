//! Schedules: which instants an expression names, and which slots of a schedule are to fire.
//!
//! Pure: no I/O, no clock, no randomness, no async runtime. The time, the time zones and what is known about
//! the past are arguments; whoever drives this claims slots durably and starts runs.
//!
//! | module | holds |
//! |---|---|
//! | [`expr`] | [`When`]: the one parser from text to times |
//! | [`calendar`] | [`Calendar`]: which civil times a line names, without a zone |
//! | [`local_time`] | from civil times to instants, over changes of the clock |
//! | [`schedule`] | [`Schedule`]: all options with their defaults |
//! | [`slots`] | which slots are to fire now; catch-up, jitter, steps of the clock |
//! | [`overlap`] | whether a slot may start beside what runs |
//! | [`deadline`] | which slots had not succeeded in time |
//! | [`clock`] | steps of the clock and suspension of the machine |
//!
//! ```
//! use hob_scheduler::{LocalTime, When};
//! let zones = jiff::tz::TimeZoneDatabase::bundled();
//! let when = When::parse("30 2 * * *", &zones).unwrap();
//! let berlin = LocalTime::of(zones.get("Europe/Berlin").unwrap());
//! // On 29 March 2026 the clock goes from 02:00 to 03:00: the job runs right after.
//! let next = when.next("2026-03-28T12:00:00Z".parse().unwrap(), &berlin).unwrap();
//! assert_eq!(next.to_string(), "2026-03-29T01:00:00Z");
//! ```

pub mod calendar;
pub mod clock;
mod crontab;
pub mod deadline;
mod error;
pub mod expr;
pub mod local_time;
mod oncalendar;
pub mod overlap;
pub mod schedule;
pub mod slots;

pub use calendar::Calendar;
pub use clock::{ClockChange, Clocks};
pub use deadline::{Deadlines, MissedDeadline};
pub use error::WhenError;
pub use expr::{Every, Line, Moment, When};
pub use local_time::{Gap, LocalTime, OverlapHour};
pub use overlap::{Decision, LiveRun, LiveState};
pub use schedule::{CatchUp, Common, Deadline, Overlap, Schedule};
pub use slots::{Due, Progress, Slot};
