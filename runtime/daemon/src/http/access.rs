//! Who may ask: the peer, the `Host`, the origin and the token.
//!
//! | path | over the socket | over TCP |
//! |---|---|---|
//! | `/healthz`, `/hooks/…` | the owner and root | anybody |
//! | `/links/…` | the owner and root | anybody; the link itself is signed |
//! | `/metrics`, `/healthz/…` | the owner and root | a loopback peer that names a loopback host, or the token |
//! | everything else | the owner and root | the token |
//!
//! Over TCP, whatever the path, `Host` must be loopback, the address that is listened on, or configured: a name that
//! an attacker's DNS points at this machine is none of these. A browser that speaks for a page of another origin says
//! so in `Origin` or `Sec-Fetch-Site` and is refused; no CORS header is ever sent.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, FORWARDED, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;

use super::reply::Refusal;
use crate::notices::links::LINKS_PREFIX;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this user on the socket.
    Socket(u32),
    /// A machine.
    Tcp(SocketAddr),
}

impl Peer {
    /// How the journal names it as the one who decided.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Socket(uid) => format!("uid:{uid}"),
            Self::Tcp(address) => format!("api:{}", address.ip()),
        }
    }
}

/// The rules.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) token: Option<String>,
    /// Names and addresses, in lower case and without a port.
    pub(crate) hosts: Vec<String>,
    /// The address that is listened on, when it is one address.
    pub(crate) listen: Option<IpAddr>,
}

impl Access {
    /// Whether the request may go on.
    pub(crate) fn admit(&self, peer: Peer, head: &Parts) -> Result<(), Refusal> {
        let Peer::Tcp(address) = peer else {
            return Ok(());
        };
        let host = self.check_host(head)?;
        let path = head.uri.path();
        if path.starts_with(LINKS_PREFIX) {
            // People follow links out of other pages, and nothing but the link itself opens anything.
            return Ok(());
        }
        check_origin(&head.headers, &host)?;
        let open = path == "/healthz"
            || path.starts_with("/hooks/")
            || (path == "/metrics" || path.starts_with("/healthz/"))
                && from_here(address, &host, &head.headers);
        if open { Ok(()) } else { self.check_token(&head.headers) }
    }

    fn check_host(&self, head: &Parts) -> Result<Authority, Refusal> {
        let mut all = head.headers.get_all(HOST).iter();
        let host = all.next().and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let (Some(host), None) = (host, all.next()) else {
            return Err(Refusal::access(StatusCode::BAD_REQUEST, "the request names no host, or several"));
        };
        for authority in head.uri.authority().into_iter().chain([&host]) {
            if !self.knows(authority.host()) {
                let text = format!("the host `{}` is not one that this hob answers for", authority.host());
                return Err(Refusal::access(StatusCode::FORBIDDEN, text)
                    .hint("name it among the allowed hosts of hob's configuration"));
            }
        }
        Ok(host)
    }

    fn knows(&self, host: &str) -> bool {
        match address_of(host) {
            Some(address) if address.is_loopback() || Some(address) == self.listen => true,
            Some(address) => self.hosts.iter().any(|known| address_of(known) == Some(address)),
            None if host.eq_ignore_ascii_case("localhost") => true,
            None => self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)),
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = bearer(headers);
        let fits = match (given, &self.token) {
            (Some(given), Some(token)) => same_secret(given, token),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let text = if given.is_some() { "the token is not the right one" } else { "a token is needed" };
        Err(Refusal::access(StatusCode::UNAUTHORIZED, text)
            .hint("send `Authorization: Bearer` with the text of the token file in the state directory")
            .header(WWW_AUTHENTICATE, "Bearer"))
    }
}

/// Whether the asker is on this machine and no proxy asks for somebody else.
fn from_here(peer: SocketAddr, host: &Authority, headers: &HeaderMap) -> bool {
    let named = address_of(host.host()).map_or(host.host() == "localhost", |ip| ip.is_loopback());
    let proxied = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
    peer.ip().to_canonical().is_loopback() && named && !proxied
}

/// The address that a host is written as.
fn address_of(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn check_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Refusal> {
    let foreign = || {
        Err(Refusal::access(StatusCode::FORBIDDEN, "a page of another origin may not ask here")
            .hint("call it from a program, or from a page that hob itself serves"))
    };
    for site in headers.get_all(SEC_FETCH_SITE) {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return foreign();
        }
    }
    for origin in headers.get_all(ORIGIN) {
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let of_host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        if of_host != Some(host.as_str().to_ascii_lowercase().as_str()) {
            return foreign();
        }
    }
    Ok(())
}

/// The token of `Authorization: Bearer TOKEN`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares two secrets in a time that tells nothing but their lengths.
pub(crate) fn same_secret(given: impl AsRef<[u8]>, secret: impl AsRef<[u8]>) -> bool {
    given.as_ref().ct_eq(secret.as_ref()).into()
}
