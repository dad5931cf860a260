//! The only async core: it serves runs, timers, triggers, services and the HTTP API.

pub mod admission;
pub mod bus;
pub mod case;
pub mod client;
pub mod clock;
pub mod compare;
pub mod core;
pub mod declared;
pub mod disks;
pub mod http;
pub mod hub;
pub mod keeper;
pub mod node;
pub mod notices;
mod overdue;
pub mod performer;
pub mod playbook;
pub mod schedules;
pub mod search;
pub mod sent;
pub mod settings;
mod sources;
pub mod timers;
pub mod trial;
pub mod triggers;
pub mod view;
pub mod watches;
