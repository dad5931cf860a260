//! The vocabulary of hob: what every part of it agrees on.
//!
//! Nothing here does I/O, reads a clock, uses randomness or knows an async runtime.
//! The modules are flat and named by what they hold:
//!
//! | module | holds |
//! |---|---|
//! | [`value`] | [`Value`]: what crosses the boundary between a script and the world |
//! | [`effect`] | [`EffectClass`], [`Call`]: what a run asks of the world |
//! | [`position`] | [`Position`]: where in the structure of a run an effect stands |
//! | [`entry`] | [`Entry`]: what a run's journal records |
//! | [`run`] | [`RunId`], [`RunStatus`], [`RunStarted`]: one durable execution |
//! | [`error`] | [`OpError`]: what an operation answers when it fails |
//! | [`diagnostic`], [`code`] | [`Diagnostic`]: a problem with its place, cause and cure |
//! | [`duration`], [`size`] | the one parser for each of these texts |
//! | [`approval`] | [`Approval`]: what a person answered |
//! | [`secret`] | [`Secret`]: an expression over secrets, without their values |
//! | [`names`] | "did you mean" |

pub mod approval;
pub mod code;
pub mod diagnostic;
pub mod digest;
pub mod duration;
pub mod effect;
pub mod entry;
pub mod error;
pub mod event;
pub mod names;
pub mod packed;
pub mod pattern;
pub mod position;
pub mod run;
pub mod secret;
pub mod size;
pub mod value;

pub use approval::Approval;
pub use code::Code;
pub use diagnostic::{Diagnostic, Level, Span};
pub use digest::Digest;
pub use effect::{Call, EffectClass, OnDoubt, Source};
pub use entry::{BranchEnd, Entry, EntryKind, EntryStatus, Payload, Resolution, Wait};
pub use error::{ErrorKind, OpError};
pub use jiff::Timestamp;
pub use packed::Packed;
pub use position::Position;
pub use run::{RunEnd, RunEntry, RunId, RunOwner, RunStarted, RunStatus};
pub use secret::{Secret, SecretForm, SecretPart, SecretRef};
pub use value::Value;
