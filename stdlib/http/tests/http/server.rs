//! A real server on loopback that does what a script says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hob_std_http::Scripted;
use hob_std_http::port::{Request, Route};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::world::Script;

/// A server that runs as long as its runtime.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `script`, over TLS if there is a configuration for it.
    pub(crate) fn start(runtime: &Runtime, script: Script, tls: Option<ServerConfig>) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::default());
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let (acceptor, noted) = (tls.map(|config| TlsAcceptor::from(Arc::new(config))), Arc::clone(&seen));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (script, noted, acceptor) = (script.clone(), Arc::clone(&noted), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(TokioIo::new(stream), "http", script, noted).await,
                        Some(acceptor) => {
                            // A client that distrusts the server ends the handshake.
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve(TokioIo::new(stream), "https", script, noted).await;
                        }
                    }
                });
            }
        });
        Self { port, seen, connections }
    }

    /// Serves `script` on a Unix socket.
    pub(crate) fn start_unix(runtime: &Runtime, script: Script, path: &std::path::Path) {
        let listener = runtime.block_on(async { UnixListener::bind(path) }).unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(TokioIo::new(stream), "http", script.clone(), Arc::default()));
            }
        });
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    io: impl Read + Write + Unpin,
    scheme: &'static str,
    script: Script,
    seen: Arc<Mutex<Vec<Request>>>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (script, seen) = (script.clone(), Arc::clone(&seen));
        async move {
            let request = read(request, scheme).await;
            seen.lock().unwrap().push(request.clone());
            let scripted = script(&request);
            if scripted.status == 0 { Err("the script does not answer") } else { Ok(written(scripted)) }
        }
    });
    // It ends with an error when the script breaks the connection.
    let _ = http1::Builder::new().serve_connection(io, service).await;
}

async fn read(request: hyper::Request<Incoming>, scheme: &str) -> Request {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get("host").map_or("", |host| host.to_str().unwrap());
    let url = match parts.uri.authority() {
        Some(_) => parts.uri.to_string(), // the absolute form, which proxies get
        None => format!("{scheme}://{host}{}", parts.uri),
    };
    Request {
        method: parts.method,
        url: url.parse().unwrap(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        route: Route::default(),
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, &'static str>;

fn written(scripted: Scripted) -> hyper::Response<Body> {
    let mut response = hyper::Response::builder().status(scripted.status);
    for (name, value) in &scripted.headers {
        response = response.header(*name, value);
    }
    let announced = scripted.headers.iter().any(|(name, _)| *name == "content-length");
    if !announced && !scripted.breaks && !scripted.hangs {
        response = response.header("content-length", scripted.body.iter().map(Bytes::len).sum::<usize>());
    }
    let chunks = stream::iter(scripted.body.into_iter().map(|chunk| Ok(Frame::data(chunk))));
    // The pause lets the server write what came before.
    let end = stream::iter(scripted.breaks.then_some(())).then(async |()| {
        tokio::task::yield_now().await;
        Err("the script breaks the connection")
    });
    let forever = stream::iter(scripted.hangs.then_some(())).then(|()| std::future::pending());
    let frames = chunks.chain(end).chain(forever);
    response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
}
