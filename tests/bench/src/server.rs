//! A local HTTP server that counts what it gets: the world in which `once` effects happen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A server on loopback that answers each request with `ok`; a thread for each connection.
pub(crate) struct CountingServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    count: Arc<AtomicU64>,
}

impl CountingServer {
    /// Starts it; it ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                // A connection that breaks is the client's business.
                std::thread::spawn(move || serve(stream, &counter));
            }
        });
        Self { address, count }
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, count: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut body_bytes = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if let Some(length) = lower.strip_prefix("content-length:") {
                body_bytes = length.trim().parse().unwrap_or(0);
            }
            if lower.is_empty() {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(body_bytes), &mut std::io::sink())?;
        count.fetch_add(1, Ordering::SeqCst);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")?;
    }
}
