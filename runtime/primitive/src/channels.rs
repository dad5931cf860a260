//! The channels of the homelab, as primitives see them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hob_model::{OpError, Value};
use jiff::tz::TimeZone;

/// A channel as the homelab declares it.
#[derive(Clone, Debug)]
pub struct DeclaredChannel {
    /// Its name.
    pub name: String,
    /// Its options as they were written; secrets are expressions.
    pub options: BTreeMap<String, Value>,
    /// The zone of its times of day.
    pub zone: TimeZone,
    /// What its secrets belong to (see [`crate::Vault::open`]).
    pub place: PathBuf,
}

/// The port to the channels that the homelab declares.
pub trait Channels: Send + Sync {
    /// The channel of this name.
    ///
    /// # Errors
    /// `not_found` when there is none, `unavailable` when this process serves no homelab.
    fn channel(&self, name: &str) -> Result<DeclaredChannel, OpError>;

    /// A link that answers the approval at a position of a run, once; `None` where nobody would answer it.
    fn approval_link(&self, run: &str, position: &str) -> Option<String>;

    /// Takes a message that is to be delivered later: what the event [`hob_model::event::MESSAGE_HELD`] carries. It is durable
    /// when this returns `true`; `false` where nobody would deliver it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn hold(&self, held: Value, origin: &str) -> Result<bool, OpError>;
}

/// Who knows what channels may be.
pub trait ChannelForm: Send + Sync {
    /// Checks a declared channel. Secrets are not opened.
    ///
    /// # Errors
    /// `invalid`, with what is wrong and the cure.
    fn check(&self, channel: &DeclaredChannel) -> Result<(), OpError>;
}
