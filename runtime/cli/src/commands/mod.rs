//! One module per group of commands.

pub(crate) mod boot;
pub(crate) mod check;
pub(crate) mod doc;
pub(crate) mod events;
pub(crate) mod flow;
mod history;
pub(crate) mod homelab;
pub(crate) mod install;
pub(crate) mod interrupt;
pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod lsp;
pub(crate) mod manual;
pub(crate) mod remote;
pub(crate) mod repl;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod setup;
pub(crate) mod state;
mod targets;
pub(crate) mod test;
pub(crate) mod update;
