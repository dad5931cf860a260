//! One module per group of commands.

pub mod check;
pub mod doc;
pub mod events;
pub mod homelab;
pub mod interrupt;
pub mod journal;
pub mod logs;
pub mod remote;
pub mod replay;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod serve;
pub mod service;
pub mod state;
