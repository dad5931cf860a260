//! What only a network has: refused connections, names, TLS, proxies, sockets.

use std::fs;
use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Value};
use hob_std_http::{HttpPort, LiveHttp, Scripted};
use hob_testkit::Harness;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::server::Server;
use crate::world::{Script, get, header};

fn harness() -> Harness {
    let port: Arc<dyn HttpPort> = Arc::new(LiveHttp::new());
    Harness::new().port(port)
}

fn fetch(harness: &Harness, url: &str, options: serde_json::Value) -> Result<Value, OpError> {
    harness.call(&hob_std_http::primitive(), "http::get", json!([url, options]))
}

fn answering(text: &'static str) -> Script {
    Arc::new(move |_| Scripted::new(200, text))
}

#[test]
fn a_connection_that_does_not_come_about_did_nothing() {
    let harness = harness();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = harness
        .call(&hob_std_http::primitive(), "http::post", json!([format!("http://127.0.0.1:{closed}/x")]))
        .unwrap_err();
    assert_eq!((error.kind, error.retryable, error.nothing_happened), (ErrorKind::Unavailable, true, true));
    assert_eq!(error.message, format!("POST http://127.0.0.1:{closed}/x: no connection: Connection refused"));
    let error = fetch(&harness, "http://no-such-host.invalid/", json!({})).unwrap_err();
    assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Unavailable, true));
    assert!(error.message.contains("the host `no-such-host.invalid` is not known"), "{}", error.message);
}

/// A certificate authority, and files with it and with a certificate that it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn server_config(authority: &Authority, name: &str, clients: bool) -> ServerConfig {
    let (cert, key) = authority.sign(name);
    let builder = ServerConfig::builder();
    let builder = if clients {
        builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder(authority.roots().into()).build().unwrap(),
        )
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap()
}

#[test]
fn a_server_is_trusted_only_with_reason() {
    let (harness, authority) = (harness(), Authority::new());
    fs::write(harness.dir().join("ca.pem"), &authority.pem).unwrap();
    fs::write(harness.dir().join("junk.pem"), "junk").unwrap();
    let server = Server::start(
        harness.runtime(),
        answering("secure"),
        Some(server_config(&authority, "localhost", false)),
    );
    let url = format!("https://localhost:{}/", server.port);

    let error = fetch(&harness, &url, json!({})).unwrap_err();
    assert_eq!(
        (error.kind, error.retryable, error.nothing_happened),
        (ErrorKind::Failed, false, true),
        "{}",
        error.message
    );
    assert!(
        error.message.contains("the connection is not secure: invalid peer certificate: UnknownIssuer"),
        "{}",
        error.message
    );
    assert!(error.hint.unwrap().contains("ca.pem"));

    for options in [json!({ "tls": { "ca": "ca.pem" } }), json!({ "tls": { "verify": false } })] {
        assert_eq!(get(&fetch(&harness, &url, options).unwrap(), "body"), &Value::from("secure"));
    }
    let wrong_name = url.replace("localhost", "127.0.0.1");
    let error = fetch(&harness, &wrong_name, json!({ "tls": { "ca": "ca.pem" } })).unwrap_err();
    assert!(error.message.contains("not valid for name"), "{}", error.message);
    for (ca, part) in [("none.pem", "none.pem: "), ("junk.pem", "junk.pem holds no certificate")] {
        let error = fetch(&harness, &url, json!({ "tls": { "ca": ca } })).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains(part), "{}", error.message);
    }
    let plain = Server::start(harness.runtime(), answering("plain"), None);
    let error = fetch(&harness, &format!("https://localhost:{}/", plain.port), json!({})).unwrap_err();
    assert!(error.message.contains("the connection is not secure"), "{}", error.message);
    assert_eq!((server.seen().len(), plain.seen().len()), (2, 0));
}

#[test]
fn a_client_shows_its_certificate() {
    let (harness, authority) = (harness(), Authority::new());
    let server = Server::start(
        harness.runtime(),
        answering("known"),
        Some(server_config(&authority, "localhost", true)),
    );
    let (cert, key) = authority.sign("me");
    for (name, text) in
        [("ca.pem", authority.pem.clone()), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())]
    {
        fs::write(harness.dir().join(name), text).unwrap();
    }
    let url = format!("https://localhost:{}/", server.port);
    assert!(fetch(&harness, &url, json!({ "tls": { "ca": "ca.pem" } })).is_err());
    let options = json!({ "tls": { "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem" } });
    assert_eq!(get(&fetch(&harness, &url, options).unwrap(), "body"), &Value::from("known"));
    let options = json!({ "tls": { "ca": "ca.pem", "cert": "ca.pem", "key": "ca.pem" } });
    assert_eq!(fetch(&harness, &url, options).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_proxy_is_used_when_it_is_named_and_only_then() {
    let harness = harness();
    let proxy = Server::start(harness.runtime(), answering("through the proxy"), None);
    let options = json!({ "proxy": format!("http://ada:pw@127.0.0.1:{}", proxy.port) });
    let answer = fetch(&harness, "http://no-such-host.invalid/x", options).unwrap();
    assert_eq!(get(&answer, "body"), &Value::from("through the proxy"));
    let seen = proxy.seen();
    assert_eq!(seen[0].url.as_str(), "http://no-such-host.invalid/x");
    assert_eq!(header(&seen[0], "proxy-authorization"), Some("Basic YWRhOnB3"));
}

#[test]
fn a_unix_socket_is_a_server_too() {
    let harness = harness();
    Server::start_unix(harness.runtime(), answering("local"), &harness.dir().join("api.sock"));
    let answer = fetch(&harness, "http://localhost/info", json!({ "unix_socket": "api.sock" })).unwrap();
    assert_eq!(get(&answer, "body"), &Value::from("local"));
    let error = fetch(&harness, "http://localhost/info", json!({ "unix_socket": "none.sock" })).unwrap_err();
    assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Unavailable, true), "{}", error.message);
}

#[test]
fn connections_are_kept_for_the_next_request() {
    const REQUESTS: usize = 20;
    let harness = harness();
    let server = Server::start(harness.runtime(), answering("x"), None);
    for _ in 0..REQUESTS {
        fetch(&harness, &format!("http://127.0.0.1:{}/", server.port), json!({})).unwrap();
    }
    assert_eq!(server.seen().len(), REQUESTS);
    // A request may come before the connection of the one before it is back, but not each time.
    assert!(server.connections() < REQUESTS, "{}", server.connections());
}

#[test]
fn a_certificate_is_shown_trusted_or_not() {
    let (harness, authority) = (harness(), Authority::new());
    fs::write(harness.dir().join("ca.pem"), &authority.pem).unwrap();
    let config = server_config(&authority, "localhost", false);
    let server = Server::start(harness.runtime(), answering("secure"), Some(config));
    let url = format!("https://localhost:{}/", server.port);
    let show = |url: &str, options: serde_json::Value| {
        harness.call(&hob_std_http::primitive(), "http::certificate", json!([url, options]))
    };
    let trusted = show(&url, json!({ "tls": { "ca": "ca.pem" } })).unwrap();
    assert_eq!(get(&trusted, "problem"), &Value::Unit);
    assert_eq!(get(&trusted, "names"), &Value::Array(vec![Value::from("localhost")]));
    // The certificates of the library last until the year 4096.
    assert_eq!(get(&trusted, "not_after"), &Value::from("4096-01-01T00:00:00Z"));
    assert!(get(&trusted, "days_left").as_int().unwrap() > 700_000, "{trusted:?}");
    let untrusted = show(&url, json!({})).unwrap();
    assert!(get(&untrusted, "problem").as_str().unwrap().contains("UnknownIssuer"), "{untrusted:?}");
    assert_eq!(get(&untrusted, "not_after"), get(&trusted, "not_after"));
    let error = show(&url.replace("https", "http"), json!({})).unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("shows no certificate"), "{error}");
    let nobody = show("https://localhost:1/", json!({})).unwrap_err();
    assert!(nobody.message.contains("no connection"), "{nobody}");
}
