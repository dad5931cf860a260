//! The primitive `ups`: uninterruptible power supplies, as the server of NUT (Network UPS Tools) tells of them over the
//! protocol of [RFC 9271](https://www.rfc-editor.org/rfc/rfc9271).
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations that look |
//! | `address` | where a supply is: `NAME@HOST:PORT` |
//! | `protocol` | lines of the protocol, and its errors |
//! | `reading` | what the variables of a supply say |
//! | `follow` | which readings are news |
//! | `source` | news as events, and as numbers |
//! | [`port`] | the trait to the world |
//! | `live` | the adapter that uses the network |
//! | `fake` | a server in memory, for tests |

mod address;
mod api;
mod fake;
mod follow;
mod live;
pub mod port;
mod protocol;
mod reading;
mod source;

use std::sync::Arc;
use std::time::Duration;

pub use api::primitive;
pub use fake::FakeUps;
use hob_primitive::{Measured, Ports, Subscribing};
pub use live::LiveUps;
pub use port::UpsPort;
pub use source::UpsSources;

/// The port that is registered for the protocol.
pub const PORT: u16 = 3493;

/// How often a supply is looked at, as NUT's own `upsmon` does (its `POLLFREQ`).
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// After the time of so many looks without an answer nothing is known of a supply any more: 15 s, `upsmon`'s `DEADTIME`.
pub const SILENT_LOOKS: u32 = 3;

/// How long connecting and each answer may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Plugs in the network.
pub fn install(ports: &mut Ports) {
    let live = Arc::new(LiveUps);
    ports.insert::<dyn UpsPort>(Arc::clone(&live) as Arc<dyn UpsPort>);
    let sources = Arc::new(UpsSources::new(live));
    ports.add::<dyn Measured>(Arc::clone(&sources) as Arc<dyn Measured>);
    ports.add::<dyn Subscribing>(sources);
}
