//! Schedules as numbers.

use hob_model::Timestamp;
use hob_primitive::Family;

use super::{Scheduling, Timed};

/// Schedules that are told one by one.
const SCHEDULES_TOLD_MAX: usize = 1_000;

impl Scheduling {
    /// When the schedules fire and have fired, for as many as are told one by one.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let now = self.launch.runs.now();
        let paused: Vec<bool> = self
            .timed
            .iter()
            .zip(self.looks().iter())
            .map(|(timed, look)| Self::is_paused(timed, look))
            .collect();
        let told = || self.timed.iter().zip(&paused).take(SCHEDULES_TOLD_MAX);
        let label = |timed: &Timed| [("schedule", timed.schedule.name.to_string())];
        let seconds = |at: Timestamp| at.as_duration().as_secs_f64();
        let next = told()
            .filter(|(_, paused)| !**paused)
            .filter_map(|(timed, _)| Some((label(timed), seconds(timed.schedule.next(now)?))));
        let last = told().filter_map(|(timed, _)| {
            let slots = self.launch.runs.journal().slots(&timed.schedule.name, 1).ok()?;
            Some((label(timed), seconds(slots.first()?.nominal)))
        });
        let paused = told().map(|(timed, paused)| (label(timed), f64::from(*paused)));
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let all = self.timed.len() as f64;
        vec![
            Family::gauge("hob_schedules", "Schedules that are served").one(all),
            Family::gauge("hob_schedule_next_timestamp_seconds", "When a schedule fires next, in Unix time")
                .with(next),
            Family::gauge(
                "hob_schedule_last_timestamp_seconds",
                "The last slot that was claimed, in Unix time",
            )
            .with(last),
            Family::gauge("hob_schedule_paused", "Whether a schedule is paused").with(paused),
        ]
    }
}
