//! Samples of durations, and how they are printed.

use std::time::Duration;

/// Durations of the rounds of one case.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// A sample of these rounds.
    pub(crate) fn of(mut rounds: Vec<Duration>) -> Self {
        rounds.sort_unstable();
        Self(rounds)
    }

    /// The duration that the fraction `q` of the rounds did not exceed; zero when there were none.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * q).round() as usize).copied().unwrap_or_default()
    }

    /// The median.
    pub(crate) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// `min … p50 … p99 … max …`
    pub(crate) fn text(&self) -> String {
        let parts = [("min", 0.0), ("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
        parts.map(|(name, q)| format!("{name} {:>9}", text(self.quantile(q)))).join("  ")
    }
}

/// A duration with three digits: `812 µs`, `3.07 ms`, `1.24 s`.
pub(crate) fn text(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        micros if micros < 1e3 => (micros, "µs"),
        micros if micros < 1e6 => (micros / 1e3, "ms"),
        micros => (micros / 1e6, "s"),
    };
    let digits = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.digits$} {unit}")
}

/// A number of microseconds that may be negative: differences against the floor may be, within its noise.
pub(crate) fn signed_micros(micros: f64) -> String {
    format!("{micros:.0} µs")
}
