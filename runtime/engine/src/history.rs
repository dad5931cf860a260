//! What numbers were over time, as far as functions of alerts ask for it.
//!
//! Nothing is kept of a number before somebody asks for it over a window. Then a point is kept for each part of that window: how
//! much is kept depends on what is asked for, and not on how often it is measured.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{OpError, Timestamp, duration};
use hob_primitive::{Family, MetricKind, Sample};

/// The longest window.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most points that are kept of one number over one window.
const POINTS_MAX: u32 = 120;
/// The most numbers of which points are kept: about 10 MB.
const SERIES_MAX: usize = 5_000;
/// The most windows that are asked for.
const WINDOWS_MAX: usize = 500;

type Labels = Vec<(&'static str, String)>;

/// What is asked of a number over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// How much it grew in a second; beginning again from zero is seen through.
    Rate,
    /// How much it changed.
    Delta,
    /// What it was on average.
    Average,
}

/// What numbers were over time. Shared by all that look at them.
#[derive(Debug, Default)]
pub struct History(Mutex<BTreeMap<(&'static str, Duration), Series>>);

/// The points of the numbers of one family over one window.
type Series = HashMap<Labels, VecDeque<Point>>;

#[derive(Clone, Copy, Debug)]
struct Point {
    /// In seconds since the epoch.
    at: f64,
    value: f64,
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

impl History {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Duration), Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what somebody asked for of what was measured at `at`.
    pub fn note(&self, at: Timestamp, families: &[Family]) {
        let (mut kept, now) = (self.kept(), seconds(at));
        let mut count: usize = kept.values().map(HashMap::len).sum();
        for ((name, window), series) in kept.iter_mut() {
            let step = (*window / POINTS_MAX).as_secs_f64();
            let oldest = now - window.as_secs_f64();
            for sample in families.iter().filter(|it| it.name == *name).flat_map(|it| &it.samples) {
                if !series.contains_key(&sample.labels) {
                    if count == SERIES_MAX {
                        continue;
                    }
                    count += 1;
                }
                let points = series.entry(sample.labels.clone()).or_default();
                // A clock that was set back begins anew.
                if points.back().is_some_and(|last| last.at > now) {
                    points.clear();
                }
                if points.back().is_none_or(|last| now - last.at >= step) {
                    points.push_back(Point { at: now, value: sample.value });
                }
            }
            // What is not measured any more is forgotten with its last point.
            series.retain(|_, points| {
                while points.front().is_some_and(|first| first.at < oldest) {
                    points.pop_front();
                }
                !points.is_empty()
            });
        }
    }

    /// What the numbers of a family, measured at `at`, were over a window; those that were not measured for half of it are left
    /// out.
    ///
    /// # Errors
    /// `unavailable` while none of them was, and when too much is asked for.
    pub(crate) fn over<'s>(
        &self,
        (family, at): (&Family, Timestamp),
        samples: impl Iterator<Item = &'s Sample>,
        over: Over,
        window: Duration,
    ) -> Result<Vec<(&'s Sample, f64)>, OpError> {
        if window.is_zero() || window > WINDOW_MAX {
            let most = duration::format(WINDOW_MAX);
            return Err(OpError::invalid(format!("a window is longer than nothing, and up to {most}")));
        }
        if over == Over::Rate && family.kind == MetricKind::Gauge {
            let text = format!("`{}` goes up and down, and has no rate", family.name);
            return Err(OpError::invalid(text).hint("ask for `delta`, which is how much it changed"));
        }
        let mut kept = self.kept();
        if kept.len() == WINDOWS_MAX && !kept.contains_key(&(family.name, window)) {
            let text = format!("numbers are kept over {WINDOWS_MAX} windows, and not over more");
            return Err(OpError::invalid(text).hint("ask for the same window in several alerts"));
        }
        let series = kept.entry((family.name, window)).or_default();
        let now = seconds(at);
        let (mut asked, mut found) = (0, Vec::new());
        for sample in samples {
            asked += 1;
            let points = series.get(&sample.labels).into_iter().flatten().copied();
            let last = Point { at: now, value: sample.value };
            let within = points.filter(|it| it.at >= now - window.as_secs_f64() && it.at < now);
            let points: Vec<Point> = within.chain([last]).collect();
            if now - points[0].at >= window.as_secs_f64() / 2.0 {
                found.push((sample, told(over, family.kind, &points)));
            }
        }
        if asked > 0 && found.is_empty() {
            let window = duration::format(window);
            let text = format!("`{}` was not measured for half of {window} yet", family.name);
            return Err(OpError::unavailable(text).nothing_happened());
        }
        Ok(found)
    }
}

#[allow(clippy::cast_precision_loss)] // there are few points
fn told(over: Over, kind: MetricKind, points: &[Point]) -> f64 {
    let (first, last) = (points[0], points[points.len() - 1]);
    let grown = || {
        let grown = |pair: &[Point]| match pair[1].value - pair[0].value {
            grown if grown >= 0.0 => grown,
            _ => pair[1].value,
        };
        points.windows(2).map(grown).sum::<f64>()
    };
    match (over, kind) {
        (Over::Rate, _) => grown() / (last.at - first.at),
        (Over::Delta, MetricKind::Counter) => grown(),
        (Over::Delta, MetricKind::Gauge) => last.value - first.value,
        (Over::Average, _) => points.iter().map(|it| it.value).sum::<f64>() / points.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: u32) -> Timestamp {
        Timestamp::from_second(i64::from(second)).unwrap()
    }

    fn family(kind: MetricKind, values: &[(&str, f64)]) -> Family {
        let family = Family { kind, ..Family::gauge("hob_it", "It") };
        family.with(values.iter().map(|(disk, value)| ([("disk", (*disk).to_owned())], *value)))
    }

    fn ask(history: &History, family: &Family, second: u32, over: Over) -> Result<Vec<f64>, OpError> {
        let found = history.over((family, at(second)), family.samples.iter(), over, MINUTE)?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn numbers_are_told_over_a_window_once_half_of_it_was_measured() {
        let history = History::default();
        let counter = |value: f64| family(MetricKind::Counter, &[("a", value)]);
        let gauge = |value: f64| family(MetricKind::Gauge, &[("a", value)]);
        let early = ask(&history, &counter(0.0), 0, Over::Rate).unwrap_err();
        assert_eq!(early.message, "`hob_it` was not measured for half of 1m yet");
        // It grows by 2 a second, and has begun again from zero just before 40 seconds.
        for second in (0..=60).step_by(10) {
            let value = if second < 40 { second * 2 } else { (second - 40) * 2 + 4 };
            history.note(at(second), &[counter(f64::from(value))]);
        }
        assert!(ask(&history, &counter(40.0), 29, Over::Rate).is_err());
        assert_eq!(ask(&history, &counter(44.0), 60, Over::Delta).unwrap(), [104.0]);
        let rate = ask(&history, &counter(44.0), 60, Over::Rate).unwrap();
        assert!((rate[0] - 104.0 / 60.0).abs() < 1e-9, "{rate:?}");
        // What lies before the window does not count.
        assert_eq!(ask(&history, &counter(64.0), 70, Over::Delta).unwrap(), [104.0]);
        assert_eq!(ask(&history, &gauge(10.0), 60, Over::Delta).unwrap(), [10.0]);
        let mean = ask(&history, &gauge(44.0), 60, Over::Average).unwrap();
        assert!((mean[0] - 192.0 / 7.0).abs() < 1e-9, "{mean:?}");
        let refused = ask(&history, &gauge(1.0), 60, Over::Rate).unwrap_err();
        assert!(refused.message.contains("goes up and down"), "{refused:?}");
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_gone_is_forgotten() {
        let history = History::default();
        let one = |name: &str| family(MetricKind::Gauge, &[(name, 1.0)]);
        let _ = ask(&history, &one("a"), 0, Over::Delta);
        for second in 0..1_000 {
            history.note(at(second), &[one("a")]);
        }
        let points =
            |history: &History| history.kept().values().next().map(|it| it.values().map(VecDeque::len).sum());
        assert_eq!(points(&history), Some(61));
        // A new one is left out until it was measured for long enough; one that is gone is forgotten.
        let both = family(MetricKind::Gauge, &[("a", 1.0), ("b", 1.0)]);
        history.note(at(1_000), std::slice::from_ref(&both));
        assert_eq!(ask(&history, &both, 1_001, Over::Delta).unwrap().len(), 1);
        history.note(at(1_100), &[one("b")]);
        assert_eq!(history.kept().values().next().unwrap().len(), 1);
        let many: Vec<(String, f64)> = (0..6_000).map(|number| (number.to_string(), 0.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        history.note(at(1_101), &[family(MetricKind::Gauge, &many)]);
        assert_eq!(history.kept().values().next().unwrap().len(), SERIES_MAX);
    }
}
