//! Looking through gates that take no more than an address or a path.
#![allow(clippy::disallowed_methods)] // It connects, and takes a real clock.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hob_planner::declaration::Gate;

use crate::port::Look;

/// This machine, by IPv4 or else by IPv6.
pub const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most headers of an answer.
const HEADERS_MAX: usize = 100;

/// The statuses that count as well unless one is named.
const STATUS_WELL: std::ops::Range<u16> = 200..400;

/// Looks once through the gates `tcp`, `http` and `file`, for at most `timeout`; ports are those of `hosts`, of which one
/// must answer. `None` for all other gates.
#[must_use]
pub fn probe(hosts: &[IpAddr], gate: &Gate, timeout: Duration) -> Option<Look> {
    let deadline = Instant::now() + timeout;
    Some(match gate {
        Gate::Tcp { port } => match connect(hosts, *port, deadline) {
            Ok(_) => Look::Passed,
            Err(error) => Look::NotYet(format!("port {port}: {error}")),
        },
        Gate::Http { port, path, status } => match get(hosts, *port, path, deadline) {
            Ok(found) if status.map_or(STATUS_WELL.contains(&found), |wanted| wanted == found) => {
                Look::Passed
            }
            Ok(found) => Look::NotYet(format!("{path} answered {found}")),
            Err(error) => Look::NotYet(format!("{path} at port {port}: {error}")),
        },
        Gate::File { path } => match path.try_exists() {
            Ok(true) => Look::Passed,
            Ok(false) => Look::NotYet(format!("{} does not exist", path.display())),
            Err(error) => Look::NotYet(format!("{}: {error}", path.display())),
        },
        Gate::Alive | Gate::Exec { .. } | Gate::Log { .. } | Gate::Healthy | Gate::Completed => return None,
    })
}

/// Connects to the first of the hosts that takes it; of several failures, the first is told.
fn connect(hosts: &[IpAddr], port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut first = None;
    for host in hosts {
        match connect_to(SocketAddr::new(*host, port), deadline) {
            Ok(stream) => return Ok(stream),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no address")))
}

fn connect_to(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    // Where nobody listens at a port that the kernel may also choose for us, a connection can meet itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The status that a GET request is answered with; the rest of the answer is not read.
fn get(hosts: &[IpAddr], port: u16, path: &str, deadline: Instant) -> io::Result<u16> {
    let mut stream = connect(hosts, port, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: hob\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while head.len() < HEAD_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early"));
        }
        head.extend_from_slice(&part[..count]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(_)) => return Ok(response.code.unwrap_or_default()),
            Err(error) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {error}")));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer is too long"))
}
