//! Runs as traces of OpenTelemetry, sent to a collector when they have ended.
//!
//! A run is a trace, and what it did are spans: [`spans`] makes them from what the journal has, so that a run that went on over
//! crashes is one trace, and one that was waited for over days has spans of days. Neither arguments nor results are in them.

mod export;
pub mod spans;

pub use export::{Traces, is_wanted};
