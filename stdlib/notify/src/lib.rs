//! The primitive `notify`: messages to people, through the services they use.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations |
//! | `message` | what a message may say |
//! | `channel` | what the homelab declares: options, opened |
//! | `address` | Apprise's URL forms, and the service each of them names |
//! | `request` | a message as each service wants it over HTTP |
//! | `mail` | a message as mail |
//! | `pace` | rate limits and quiet hours |
//! | `delivery` | trying a channel and those it falls back to, and what a failure means |
//! | [`port`] | the trait to the world beside that of `http` |
//! | `live` | the adapter that speaks SMTP |
//! | `alertmanager` | alerts for an Alertmanager |
//! | `fake` | an adapter that records, for tests |

mod address;
mod alertmanager;
mod api;
mod channel;
mod delivery;
mod fake;
mod live;
mod mail;
mod message;
mod pace;
pub mod port;
mod request;

use std::sync::Arc;

pub use api::primitive;
pub use fake::FakeNotify;
pub use live::LiveNotify;
pub use pace::Paces;
pub use port::NotifyPort;

/// The longest text of a message, in bytes; longer ones are cut.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// The longest title, in characters; longer ones are cut.
pub const TITLE_CHARS_MAX: usize = 250;

/// The most tags of a message.
pub const TAGS_MAX: usize = 20;

/// The most actions of a message: what ntfy shows.
pub const ACTIONS_MAX: usize = 3;

/// The most files that go with a message.
pub const ATTACHMENTS_MAX: usize = 10;

/// How large all files of a message may be together, 20 MiB: what mail servers usually take.
pub const ATTACHMENTS_BYTES_MAX: u64 = 20 << 20;

/// How many channels are tried one after the other, with those they fall back to.
pub const FALLBACKS_MAX: usize = 5;

/// How many messages of a channel are remembered for its rate.
pub const PACED_MESSAGES_MAX: usize = 10_000;

/// How long one channel may take to answer.
pub const ATTEMPT_SECONDS_MAX: u64 = 50;

/// The pause before a message that was not taken is sent again: it doubles from the first to the second.
pub const AGAIN_SECONDS_MIN: u64 = 10;
/// The longest such pause, whatever a server asks for.
pub const AGAIN_SECONDS_MAX: u64 = 300;

/// Plugs in SMTP. HTTP is that of the primitive `http`.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn NotifyPort>(Arc::new(LiveNotify));
    ports.insert::<Paces>(Arc::default());
    ports.insert::<dyn hob_primitive::AlertReceiver>(Arc::new(alertmanager::Alertmanager::new()));
    ports.insert::<dyn hob_primitive::ChannelForm>(Arc::new(channel::Form));
}
