//! Numbers about the world outside, for whoever watches it over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::BoxFuture;

/// Something outside that can be measured: graphics cards, containers, the machine itself. What it measures is handed
/// out by `/metrics`. Adapters are added with [`crate::Ports::add`].
pub trait Measured: Send + Sync {
    /// What is measured: `gpu`.
    fn name(&self) -> &'static str;

    /// What it is like now. A source that cannot be reached, or is not there on this machine, gives an error.
    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>>;
}

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It goes up and down.
    Gauge,
    /// It grows from zero, and begins again only with what is measured.
    Counter,
}

impl MetricKind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// Numbers of one name, told apart by their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name by the [conventions of Prometheus](https://prometheus.io/docs/practices/naming/): it begins with `hob_`
    /// and ends with its base unit, a counter with `_total`.
    pub name: &'static str,
    /// What it tells, in a few words.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// The numbers.
    pub samples: Vec<Sample>,
}

/// A number and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Label and value; the same labels for all samples of a family, of which there are only so many on one machine.
    pub labels: Vec<(&'static str, String)>,
    /// The number, in base units: seconds, bytes, ratios from 0 to 1.
    pub value: f64,
}

impl Family {
    /// An empty family of numbers that go up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Gauge, samples: vec![] }
    }

    /// An empty family of numbers that only grow.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Counter, samples: vec![] }
    }

    /// Adds a number.
    pub fn push(&mut self, labels: Vec<(&'static str, String)>, value: f64) {
        self.samples.push(Sample { labels, value });
    }

    /// The family with a number of which there is but one.
    #[must_use]
    pub fn one(mut self, value: f64) -> Self {
        self.push(vec![], value);
        self
    }

    /// The family with how many there are of each value that `label` has.
    #[must_use]
    pub fn counted(self, label: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
        self.with(counts.into_iter().map(|(value, count)| ([(label, value)], f64::from(count))))
    }

    /// The family with these numbers.
    #[must_use]
    pub fn with<const N: usize>(
        mut self,
        samples: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) -> Self {
        let samples = samples.into_iter();
        self.samples.extend(samples.map(|(labels, value)| Sample { labels: labels.to_vec(), value }));
        self
    }
}
