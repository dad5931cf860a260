//! Alerts: from what a rule found to what people are told.
//!
//! Pure: time comes in as an argument, and what is to be recorded, raised and sent goes out as values. Evaluating a rule
//! is the business of whoever looks at the world.
//!
//! ```text
//! rule ─found─▶ pending ─lasting─▶ firing ─no longer found─▶ resolved
//!                                    │ silenced? inhibited?    │
//!                                    └──── group, repeat, ─────┴──▶ messages
//!                                          escalate
//! ```
//!
//! The words are those of [Prometheus' Alertmanager](https://prometheus.io/docs/alerting/latest/alertmanager/).
//!
//! | module | holds |
//! |---|---|
//! | [`rule`] | [`Rule`]: what is told, to whom and how often; [`Finding`]: what a rule's function gives |
//! | [`board`] | [`Board`]: everything that is pending or firing |
//! | `tell` | when people are told, and what: grouping, repeats, escalation |
//! | [`silence`] | [`Silence`]: what is not told for a while |
//! | `record` | what survives the process |

pub mod board;
mod record;
pub mod rule;
pub mod silence;
mod tell;

pub use board::{Board, Changed, Health, Instance, News, State};
pub use rule::{Escalation, Finding, Inhibition, Labels, Rule, Severity};
pub use silence::Silence;
pub use tell::{GROUP_INTERVAL, GROUP_WAIT, Message};
