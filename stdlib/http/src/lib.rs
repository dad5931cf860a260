//! The primitive `http`: requests to web servers, and downloads that can be resumed.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations |
//! | `options` | what scripts may ask for, and the request that it makes |
//! | `exchange` | sending: redirects, credentials, cancelling |
//! | `answer` | what a script gets: status, headers, body; which status is which error |
//! | `download` | the one that writes a file; `part` is its disk |
//! | [`port`] | the trait to the world |
//! | `live` | the adapter that uses the network |
//! | `fake` | an adapter with scripted servers, for tests |

mod answer;
mod api;
mod certificate;
mod download;
mod exchange;
mod fake;
mod live;
mod options;
mod part;
pub mod port;

use std::sync::Arc;

pub use api::primitive;
pub use fake::{FakeHttp, Scripted};
pub use live::LiveHttp;
pub use port::HttpPort;

/// The longest body that a response may have unless `limit` says otherwise, 32 MiB.
pub const RESPONSE_BYTES_MAX: u64 = 32 << 20;

/// The longest body that a request may have, 64 MiB: it is kept in memory.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// The largest file that is downloaded unless `limit` says otherwise, 64 GiB.
pub const DOWNLOAD_BYTES_MAX: u64 = 64 << 30;

/// How many redirects are followed unless `redirects` says otherwise.
pub const REDIRECTS_MAX: u32 = 10;

/// The longest address.
pub const URL_BYTES_MAX: usize = 8 << 10;

/// How many headers a request may have.
pub const HEADERS_MAX: usize = 100;

/// How much of a body is shown in the error of a refusing status.
pub const EXCERPT_CHARS_MAX: usize = 2000;

/// How long connecting may take.
pub const CONNECT_SECONDS_MAX: u64 = 10;

/// How long a download may stand still before it counts as broken.
pub const STALL_SECONDS_MAX: u64 = 60;

/// How many clients, each with its own TLS and proxy set-up, are kept with their open connections.
pub const CLIENTS_MAX: usize = 32;

/// Plugs in the network.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn HttpPort>(Arc::new(LiveHttp::new()));
}
