//! The primitive `mqtt`: messages to and from an MQTT broker (version 3.1.1, OASIS standard).
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operation that publishes |
//! | `broker` | where a broker is and who asks, from what scripts and declarations say |
//! | `topic` | names and filters of topics |
//! | `source` | what a subscription hears, as events |
//! | [`port`] | the trait to the world |
//! | `live` | the adapter that uses the network |
//! | `fake` | a broker in memory, for tests |

mod api;
mod broker;
mod fake;
mod live;
pub mod port;
mod source;
mod topic;

use std::sync::Arc;

pub use api::primitive;
pub use broker::broker;
pub use fake::FakeBroker;
use hob_primitive::{Ports, Subscribing};
pub use live::LiveMqtt;
pub use port::MqttPort;
pub use source::MqttSources;
pub use topic::{check_filter, check_name, matches};

/// The largest payload that is published, 1 MiB.
pub const PUBLISH_BYTES_MAX: usize = 1 << 20;

/// The largest payload that an event carries, 256 KiB; of a larger one the event tells the size alone.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// The largest packet that is taken from a broker, 16 MiB.
pub const PACKET_BYTES_MAX: usize = 16 << 20;

/// The longest name or filter of a topic in bytes (section 4.7.3 of the standard).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// How long connecting may take.
pub const CONNECT_SECONDS_MAX: u64 = 10;

/// After so much silence the broker is asked whether it is there.
pub const KEEP_ALIVE_SECONDS: u64 = 30;

/// Plugs in the network.
pub fn install(ports: &mut Ports) {
    let live = Arc::new(LiveMqtt);
    ports.insert::<dyn MqttPort>(Arc::clone(&live) as Arc<dyn MqttPort>);
    ports.add::<dyn Subscribing>(Arc::new(MqttSources::new(live)));
}
