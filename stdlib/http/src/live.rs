//! The network, through reqwest, hyper and rustls.
#![allow(clippy::disallowed_methods)] // this is the adapter for the network and for the files that TLS needs

use std::collections::VecDeque;
use std::error::Error as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Identity, Proxy};
use sha2::{Digest as _, Sha256};

use crate::port::{HttpPort, Reply, Request, Route, SendError, Sending, Stage};
use crate::{CLIENTS_MAX, CONNECT_SECONDS_MAX};

/// The network. Clients, and with them open connections, are kept for each set-up of TLS and proxy.
#[derive(Debug, Default)]
pub struct LiveHttp {
    /// The latest first.
    clients: Mutex<VecDeque<(SetupDigest, Client)>>,
}

/// What a client was made from; files by their content, so that a renewed certificate is noticed.
type SetupDigest = [u8; 32];

impl LiveHttp {
    /// An adapter without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self, route: &Route, tls: bool) -> Result<Client, SendError> {
        let files = Files::read(route)?;
        let digest = files.digest(route, tls);
        let mut clients = self.clients.lock().expect("no code panics while holding this lock");
        let found = clients.iter().position(|(known, _)| *known == digest).and_then(|at| clients.remove(at));
        let client = match found {
            Some((_, client)) => client,
            None => files.client(route, tls)?,
        };
        clients.push_front((digest, client.clone()));
        clients.truncate(CLIENTS_MAX);
        Ok(client)
    }
}

impl HttpPort for LiveHttp {
    fn send(&self, request: Request) -> Sending<'_> {
        Box::pin(async move {
            let tls = request.url.scheme() == "https"
                || request.route.proxy.as_ref().is_some_and(|p| p.scheme() == "https");
            let client = self.client(&request.route, tls)?;
            let mut builder = client.request(request.method, request.url).headers(request.headers);
            if !request.body.is_empty() {
                builder = builder.body(request.body);
            }
            let response = builder.send().await.map_err(|error| failed(error, Stage::Sent))?;
            let tls_info = response.extensions().get::<TlsInfo>();
            let certificate = tls_info.and_then(TlsInfo::peer_certificate);
            Ok(Reply {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                certificate: certificate.map(<[u8]>::to_vec),
                body: Box::pin(
                    response.bytes_stream().map(|chunk| chunk.map_err(|error| failed(error, Stage::Body))),
                ),
            })
        })
    }
}

/// The files that a route names.
struct Files {
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
}

impl Files {
    fn read(route: &Route) -> Result<Self, SendError> {
        let ca = route.ca.as_deref().map(read).transpose()?;
        let identity = match &route.identity {
            None => None,
            Some((cert, key)) => Some([read(key)?, b"\n".to_vec(), read(cert)?].concat()),
        };
        Ok(Self { ca, identity })
    }

    fn digest(&self, route: &Route, tls: bool) -> SetupDigest {
        let mut digest = Sha256::new();
        digest.update(format!("{tls} {route:?}"));
        for file in [&self.ca, &self.identity] {
            digest.update(file.as_ref().map_or(Sha256::digest([]), Sha256::digest));
        }
        digest.finalize().into()
    }

    fn client(self, route: &Route, tls: bool) -> Result<Client, SendError> {
        let setup = |why: &dyn std::fmt::Display| SendError::new(Stage::Setup, why.to_string());
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .tls_info(tls)
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX));
        if !tls {
            // Plain connections must work on systems without certificates, and need not wait for their loading.
            builder = builder.tls_certs_only([]);
        } else if route.insecure {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if let Some((pem, path)) = self.ca.as_ref().zip(route.ca.as_ref()).filter(|_| tls) {
            let certs = Certificate::from_pem_bundle(pem).ok().filter(|certs| !certs.is_empty());
            let certs =
                certs.ok_or_else(|| setup(&format_args!("{} holds no certificate (PEM)", path.display())))?;
            builder = builder.tls_certs_merge(certs);
        }
        if let Some(pem) = &self.identity {
            let identity = Identity::from_pem(pem)
                .map_err(|_| setup(&"option `tls`: `cert` and `key` hold no certificate and key (PEM)"))?;
            builder = builder.identity(identity);
        }
        if let Some(proxy) = &route.proxy {
            builder = builder.proxy(Proxy::all(proxy.as_str()).map_err(|error| setup(&innermost(&error)))?);
        }
        if let Some(path) = &route.unix_socket {
            builder = builder.unix_socket(path.as_path());
        }
        builder.build().map_err(|error| setup(&innermost(&error)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SendError> {
    fs::read(path).map_err(|error| {
        let error = hob_model::OpError::io(&error, path.display());
        SendError::new(Stage::Setup, error.message)
    })
}

/// The causes of an error, the innermost last. An I/O error hides the one that it carries from `source`.
fn causes(error: &reqwest::Error) -> Vec<&(dyn std::error::Error + 'static)> {
    let (mut causes, mut next) = (Vec::new(), error.source());
    while let Some(cause) = next {
        causes.push(cause);
        let carried = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = carried.map_or_else(|| cause.source(), |carried| Some(carried));
    }
    causes
}

/// The innermost cause: the outer ones say only "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let text = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    text.find(" (os error").map_or(text.as_str(), |at| &text[..at]).to_owned()
}

/// How far the request came; `stage` is where it failed when that was no matter of connecting.
fn failed(error: reqwest::Error, stage: Stage) -> SendError {
    let error = error.without_url();
    let timed_out = error.is_timeout();
    let message = if timed_out { "it took too long".to_owned() } else { innermost(&error) };
    // rustls hands its errors on as I/O errors of this kind; hyper-util names its stages only in text.
    let of_tls = |cause: &&(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    };
    let causes = causes(&error);
    let stage = match (error.is_builder(), error.is_connect()) {
        (true, _) => Stage::Setup,
        (false, false) => stage,
        (false, true) if causes.iter().any(of_tls) => Stage::Tls,
        (false, true) if causes.iter().any(|cause| cause.to_string() == "dns error") => Stage::Resolve,
        (false, true) => Stage::Connect,
    };
    SendError { stage, message, timed_out }
}
