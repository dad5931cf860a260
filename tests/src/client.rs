//! Requests over TCP and over a Unix socket, with exactly the headers that a test wants.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value as Json;

use crate::DEADLINE;

/// Headers of one answer.
const HEADERS_MAX: usize = 32;

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub enum Target<'p> {
    /// A port.
    Tcp(SocketAddr),
    /// A socket.
    Socket(&'p Path),
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    /// The same, once it has the status.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    #[must_use]
    pub fn expects(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

impl Target<'_> {
    /// Sends one request and reads the answer to its end. `Host` is that of the target unless `headers` has one.
    ///
    /// # Errors
    /// When there is nobody, or the answer is cut off.
    pub fn ask(
        self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request += &match self {
                Self::Tcp(address) => format!("host: {address}\r\n"),
                Self::Socket(_) => "host: localhost\r\n".to_owned(),
            };
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let body = body.map(Json::to_string);
        if let Some(body) = &body {
            request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body.as_deref().unwrap_or_default();
        let mut answer = Vec::new();
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                exchange(stream, request.as_bytes(), &mut answer)?;
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                exchange(stream, request.as_bytes(), &mut answer)?;
            }
        }
        read(&answer)
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8], answer: &mut Vec<u8>) -> Result<()> {
    // Whoever refuses a request may close before it has read it; what it said counts.
    let sent = stream.write_all(request);
    match stream.read_to_end(answer) {
        Ok(_) => {}
        Err(error) if answer.is_empty() => return Err(error),
        Err(_) => {}
    }
    if answer.is_empty() { sent } else { Ok(()) }
}

fn read(bytes: &[u8]) -> Result<Answer> {
    let broken = |what: &str| Error::new(ErrorKind::UnexpectedEof, what.to_owned());
    let mut room = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut room);
    let parsed = head.parse(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(at) = parsed else {
        return Err(broken("the head of the answer is cut off"));
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<(String, String)> =
        head.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect();
    let len = headers.iter().find(|(name, _)| name == "content-length");
    let len = len.and_then(|(_, value)| value.parse::<usize>().ok());
    let body = &bytes[at..];
    if len.is_some_and(|len| body.len() < len) {
        return Err(broken("the body of the answer is cut off"));
    }
    Ok(Answer { status: head.code.unwrap_or(0), headers, body: text(body) })
}
