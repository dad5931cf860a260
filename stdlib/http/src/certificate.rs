//! The certificate that a server shows (RFC 5280).

use bytes::Bytes;
use hob_model::{OpError, Timestamp, Value};
use hob_primitive::{Ctx, Nested, Options};
use http::{HeaderMap, Method};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::exchange::{failure, or_cancelled, shown_url};
use crate::options::{Tls, address, route};
use crate::port::{HttpPort, Request, SendError, Stage};

/// Names of a certificate that are told.
const NAMES_MAX: usize = 100;
const SECONDS_OF_DAY: i64 = 86_400;

/// How the server is asked.
#[derive(Clone, Debug, Options)]
pub(crate) struct CertificateOptions {
    /// `#{ ca, cert, key }`: how the connection is trusted.
    tls: Option<Nested<Tls>>,
    /// A proxy: `"http://…"`, `"https://…"` or `"socks5://…"`. The environment is not looked at.
    proxy: Option<String>,
}

/// Asks the server at `url` for its certificate. One that is not trusted is asked for once more, and told with the reason.
pub(crate) async fn certificate(cx: &Ctx, url: &str, options: &CertificateOptions) -> Result<Value, OpError> {
    let url = address(url, None)?;
    if url.scheme() != "https" {
        let text = format!("`{}:` shows no certificate", url.scheme());
        return Err(OpError::invalid(text).hint("write for example \"https://example.net\""));
    }
    let route = route(cx, options.tls.as_ref(), options.proxy.as_deref(), None)?;
    let (method, headers, body) = (Method::HEAD, HeaderMap::new(), Bytes::new());
    let mut request = Request { method, url, headers, body, route };
    let port = cx.port::<dyn HttpPort>()?;
    let mut untrusted = None;
    let mut sent = or_cancelled(cx, port.send(request.clone())).await?;
    if let Err(SendError { stage: Stage::Tls, message, .. }) = &sent {
        untrusted = Some(message.clone());
        request.route.insecure = true;
        sent = or_cancelled(cx, port.send(request.clone())).await?;
    }
    let reply = sent.map_err(|error| failure(&request, &error))?;
    let unseen = || OpError::failed(format!("{}: it shows no certificate", shown_url(&request.url)));
    let shown = reply.certificate.ok_or_else(unseen)?;
    told(&shown, untrusted, cx.now())
}

/// What a certificate (DER) says, for scripts.
fn told(shown: &[u8], untrusted: Option<String>, now: Timestamp) -> Result<Value, OpError> {
    let unreadable =
        |why: &dyn std::fmt::Display| OpError::failed(format!("its certificate cannot be read: {why}"));
    let (_, certificate) = X509Certificate::from_der(shown).map_err(|error| unreadable(&error))?;
    let validity = certificate.validity();
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| unreadable(&error));
    let (from, until) = (time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?);
    let left = until.as_second().saturating_sub(now.as_second());
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(Value::from(*name)),
        GeneralName::IPAddress(bytes) => Some(Value::from(ip(bytes)?)),
        _ => None,
    });
    Ok(Value::map([
        ("subject", Value::from(certificate.subject().to_string())),
        ("issuer", certificate.issuer().to_string().into()),
        ("names", Value::Array(names.take(NAMES_MAX).collect())),
        ("not_before", from.to_string().into()),
        ("not_after", until.to_string().into()),
        ("days_left", left.div_euclid(SECONDS_OF_DAY).into()),
        ("problem", untrusted.map_or(Value::Unit, Value::from)),
    ]))
}

fn ip(bytes: &[u8]) -> Option<String> {
    let four: Option<[u8; 4]> = bytes.try_into().ok();
    let sixteen: Option<[u8; 16]> = bytes.try_into().ok();
    let four = four.map(|it| std::net::Ipv4Addr::from(it).to_string());
    four.or_else(|| Some(std::net::Ipv6Addr::from(sixteen?).to_string()))
}
