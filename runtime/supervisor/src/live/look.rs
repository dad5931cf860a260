//! Looking at gates.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hob_model::OpError;
use hob_planner::declaration::Gate;

use super::{end, scan, spawn, watch};
use crate::port::{Look, Spec};

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most headers of an answer.
const HEADERS_MAX: usize = 100;

/// The statuses that count as well unless one is named.
const STATUS_WELL: std::ops::Range<u16> = 200..400;

/// Looks once, for at most `timeout`.
pub(super) fn look(
    spec: &Spec,
    gate: &Gate,
    base: &BTreeMap<String, String>,
    timeout: Duration,
) -> Result<Look, OpError> {
    let deadline = Instant::now() + timeout;
    Ok(match gate {
        Gate::Alive | Gate::Log { .. } | Gate::Completed => Look::Passed,
        Gate::Tcp { port } => match connect(*port, deadline) {
            Ok(_) => Look::Passed,
            Err(error) => Look::NotYet(format!("port {port}: {error}")),
        },
        Gate::Http { port, path, status } => match get(*port, path, deadline) {
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
        Gate::Exec { command } => exec(spec, command, base, deadline)?,
    })
}

/// Connects to this machine, by IPv4 or else by IPv6.
fn connect(port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let v4 = connect_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), deadline);
    v4.or_else(|error| connect_to(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), deadline).map_err(|_| error))
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
fn get(port: u16, path: &str, deadline: Instant) -> io::Result<u16> {
    let mut stream = connect(port, deadline)?;
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

/// Runs a command in the surroundings of the service; it holds when it ends with code 0.
fn exec(
    spec: &Spec,
    words: &[String],
    base: &BTreeMap<String, String>,
    deadline: Instant,
) -> Result<Look, OpError> {
    let program = words.first().map_or("", String::as_str);
    let mut command = spawn::command(&spec.process, words, base, None)?;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Look::NotYet(format!("{program}: {error}"))),
    };
    let (process, _) = scan::identify(child.id())?;
    let has_ended = watch::open(&process).is_none_or(|pidfd| end::wait(&pidfd, deadline));
    // It leads a session: what it started goes with it. Until it is waited for, its number stays its own.
    end::kill_group(child.id());
    let status = child.wait().map_err(|error| OpError::io(&error, program))?;
    Ok(match (has_ended, status.success()) {
        (true, true) => Look::Passed,
        (true, false) => Look::NotYet(format!("{program}: {status}")),
        (false, _) => Look::NotYet(format!("{program} takes too long")),
    })
}
