//! hob-runs
