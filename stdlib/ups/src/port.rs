//! The port of `ups` to the world.

use std::collections::BTreeMap;

use hob_primitive::BoxFuture;

/// A server of NUT, `upsd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its host.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// The variables of a supply by their [standard names](https://networkupstools.org/docs/developer-guide.chunked/apas02.html):
/// `ups.status`, `battery.charge`.
pub type Variables = BTreeMap<String, String>;

/// Asks servers.
pub trait UpsPort: Send + Sync {
    /// The supplies of a server: name and description.
    ///
    /// Fails with `unavailable` where it cannot be reached, `denied` where it does not answer this host.
    fn list(&self, server: Server) -> BoxFuture<Vec<(String, String)>>;

    /// What is known of a supply.
    ///
    /// Fails as [`UpsPort::list`]; with `not_found` where the server has none of this name, `unavailable` where the server
    /// has not heard of the supply itself for a while.
    fn variables(&self, server: Server, name: String) -> BoxFuture<Variables>;
}
