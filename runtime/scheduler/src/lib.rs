//! hob-scheduler
