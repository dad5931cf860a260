//! A web server that counts what it is asked: the witness of what hob did outside.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{DEADLINE, until};

/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// The largest request that is read.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What was asked at one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// How many requests came in whole.
    pub times: usize,
    /// The values of `Idempotency-Key` that came with them.
    pub keys: BTreeSet<String>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<BTreeMap<String, Asked>>,
    closed: AtomicBool,
    /// Requests for `/held/…` are answered only once this is set.
    released: AtomicBool,
}

impl Shared {
    fn asked(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on a free port of this machine. A request is counted once it is there in whole, and answered with
/// `{"times": N}` after a pause.
pub struct Counter {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Counter {
    /// Starts one that answers after `pause`.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn start(pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared, pause));
            }
        });
        Self { address, shared }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked with this method at this path.
    #[must_use]
    pub fn asked(&self, method: &str, path: &str) -> Asked {
        self.shared.asked().get(&format!("{method} {path}")).cloned().unwrap_or_default()
    }

    /// Everything that was asked, by `METHOD PATH`.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Asked> {
        self.shared.asked().clone()
    }

    /// Waits until something was asked.
    pub fn wait_for(&self, method: &str, path: &str) {
        until(&format!("{method} {path}"), || (self.asked(method, path).times > 0).then_some(()));
    }

    /// Answers what was held back, and holds nothing back from now on.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.release();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, pause: Duration) {
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let Some((what, key)) = receive(&mut stream) else { return };
    let times = {
        let mut all = shared.asked();
        let asked = all.entry(what.clone()).or_default();
        asked.times += 1;
        asked.keys.extend(key);
        asked.times
    };
    if what.contains(" /held/") {
        crate::within(DEADLINE, || shared.released.load(Ordering::SeqCst).then_some(()));
    }
    std::thread::sleep(pause);
    let body = format!("{{\"times\":{times}}}");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let _ = stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
}

/// Reads a request to its end: `METHOD PATH`, and its key.
fn receive(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut bytes = Vec::new();
    let mut room = [0; 16 * 1024];
    while bytes.len() < REQUEST_BYTES_MAX {
        let read = stream.read(&mut room).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&room[..read]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(at)) = request.parse(&bytes) else { continue };
        let header = |name: &str| {
            let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::to_owned)
        };
        let len = header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        if bytes.len() - at >= len {
            return Some((format!("{} {}", request.method?, request.path?), header("idempotency-key")));
        }
    }
    None
}
