//! The only async core: it serves runs, timers, triggers, services and the HTTP API.

pub mod hub;
