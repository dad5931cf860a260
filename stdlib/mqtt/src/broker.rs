//! A broker from its address.

use std::path::PathBuf;

use hob_model::OpError;
use url::Url;

use crate::port::Broker;

/// The ports that are registered for MQTT without and with TLS.
const PORT: u16 = 1883;
const PORT_TLS: u16 = 8883;

/// The broker at `mqtt://HOST[:PORT]`, or with TLS at `mqtts://…`, without credentials.
///
/// # Errors
/// `invalid`, with the reason.
pub fn broker(address: &str) -> Result<Broker, OpError> {
    let wrong = |why: String| {
        OpError::invalid(format!("`{address}` is no address of a broker: {why}"))
            .hint("write mqtt://broker.lan, or mqtts://broker.lan:8883 for TLS")
    };
    let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let tls = match url.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        other => return Err(wrong(format!("it begins with `{other}`"))),
    };
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| wrong("it names no host".to_owned()))?.to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("user and password stand in options of their own".to_owned()));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("there is something after the host".to_owned()));
    }
    let port = url.port().unwrap_or(if tls { PORT_TLS } else { PORT });
    // An address of version 6 stands in brackets in a URL, and without them everywhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Broker { host, port, tls, ca: None, user: None, password: None, password_file: None })
}

impl Broker {
    /// With what shows who asks.
    #[must_use]
    pub(crate) fn with(
        self,
        ca: Option<PathBuf>,
        user: Option<String>,
        password: Option<String>,
        password_file: Option<PathBuf>,
    ) -> Self {
        Self { ca, user, password, password_file, ..self }
    }
}
