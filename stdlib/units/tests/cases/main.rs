//! The same cases against the fake and a real systemd.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included

mod events;
mod files;
mod jobs;
mod lists;
mod logs;
mod playbook;
mod properties;
mod shares;
mod transient;
mod weather;
mod world;
