//! A repository on a server that speaks restic's REST protocol
//! (<https://restic.readthedocs.io/en/stable/100_references.html#rest-backend>).

use std::ops::Range;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{ErrorKind, OpError};
use hob_primitive::Opened;
use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, RANGE};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::port::{Area, Login, Store};

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a request may take. Packs are large, and uplinks slow.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// The form of lists that has sizes.
const LISTS_VERSION_2: &str = "application/vnd.x.restic.rest.v2";

pub(super) struct Rest {
    url: Url,
    client: Client,
    user: Option<String>,
    secret: Option<Opened>,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rest({})", self.url)
    }
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Rest {
    pub(super) fn new(url: Url, login: Login) -> Result<Self, OpError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // Logins are for this server, and for none that it names.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client =
            client.map_err(|error| OpError::failed(format!("no HTTP client can be made: {error}")))?;
        let user = login.user.or_else(|| Some(url.username().to_owned()).filter(|user| !user.is_empty()));
        Ok(Self { url, client, user, secret: login.secret })
    }

    fn at(&self, area: Area, name: &str) -> Url {
        let path = match area {
            Area::Config => area.as_str().to_owned(),
            _ => format!("{}/{name}", area.as_str()),
        };
        self.url.join(&path).expect("names of areas and files are paths")
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone());
        let secret = self.secret.as_ref().and_then(|it| std::str::from_utf8(it).ok());
        match &self.user {
            Some(user) => request.basic_auth(user, secret),
            None => request,
        }
    }

    /// Sends a request until it is answered, and not by "later". All of them may be sent twice.
    fn ask(&self, url: &Url, request: impl Fn() -> RequestBuilder) -> Result<Response, OpError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match request().send() {
                Ok(answer) if !answer.status().is_server_error() => return Ok(answer),
                Ok(answer) => OpError::unavailable(format!("{url} answers {}", answer.status())),
                Err(error) => unreachable(url, &error),
            };
            match pauses.next() {
                Some(pause) => thread::sleep(pause),
                None => return Err(error),
            }
        }
    }
}

fn unreachable(url: &Url, error: &reqwest::Error) -> OpError {
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let host = url.host_str().unwrap_or_default();
    OpError::new(kind, format!("{host} cannot be reached: {cause}"))
        .hint("does the server run, and is the address right?")
}

/// The error of an answer that is none of those awaited.
fn refused(url: &Url, answer: &Response) -> OpError {
    let status = answer.status();
    let text = format!("{url} answers {status}");
    match status {
        StatusCode::UNAUTHORIZED => {
            OpError::denied(text).hint("give `user` and `secret` of the server beside `repository`")
        }
        StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => OpError::denied(text).hint(
            "a server that only appends removes nothing: prune where the repository lies, with its own rules",
        ),
        StatusCode::NOT_FOUND => OpError::not_found(text),
        StatusCode::INSUFFICIENT_STORAGE => {
            OpError::unavailable(text).hint("the disk of the server is full: free some space and try again")
        }
        StatusCode::TOO_MANY_REQUESTS => OpError::unavailable(text),
        _ => OpError::failed(text),
    }
}

fn broken(url: &Url) -> impl Fn(reqwest::Error) -> OpError + '_ {
    move |error| OpError::unavailable(format!("the answer of {url} broke off: {}", error.without_url()))
}

impl Store for Rest {
    fn create(&self) -> Result<(), OpError> {
        let mut url = self.url.clone();
        url.set_query(Some("create=true"));
        let answer = self.ask(&self.url, || self.request(Method::POST, &url))?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(&self.url, &answer)) }
    }

    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError> {
        let url = self.at(area, "");
        if area == Area::Config {
            let answer = self.ask(&url, || self.request(Method::HEAD, &url))?;
            return match answer.status() {
                StatusCode::NOT_FOUND => Ok(Vec::new()),
                status if status.is_success() => {
                    Ok(vec![(area.as_str().to_owned(), answer.content_length().unwrap_or_default())])
                }
                _ => Err(refused(&url, &answer)),
            };
        }
        let answer = self.ask(&url, || self.request(Method::GET, &url).header(ACCEPT, LISTS_VERSION_2))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            status if status.is_success() => {
                let body = answer.bytes().map_err(broken(&url))?;
                let listed: Option<Vec<Listed>> = serde_json::from_slice(&body).map_err(|error| {
                    OpError::failed(format!("{url} gives no list of files: {error}"))
                        .hint("does the server speak restic's REST protocol, version 2?")
                })?;
                Ok(listed.unwrap_or_default().into_iter().map(|it| (it.name, it.size)).collect())
            }
            _ => Err(refused(&url, &answer)),
        }
    }

    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError> {
        let url = self.at(area, name);
        let answer = self.ask(&url, || {
            let request = self.request(Method::GET, &url);
            match &range {
                Some(range) => request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1)),
                None => request,
            }
        })?;
        if !answer.status().is_success() {
            return Err(refused(&url, &answer));
        }
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        let body = answer.bytes().map_err(broken(&url))?;
        let Some(range) = range else { return Ok(body) };
        // A server may pass over a range and send all.
        let from = if partial { 0 } else { range.start };
        let bounds = usize::try_from(from).ok().zip(usize::try_from(from + range.end - range.start).ok());
        match bounds {
            Some((start, end)) if end <= body.len() => Ok(body.slice(start..end)),
            _ => Err(OpError::failed(format!("{url} is shorter than the index says"))
                .hint("the repository is damaged: `backup::check` tells what it still holds")),
        }
    }

    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError> {
        let url = self.at(area, name);
        let whole = content.concat();
        let whole = Bytes::from(whole);
        let answer = self.ask(&url, || self.request(Method::POST, &url).body(Body::from(whole.clone())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // What is there has this very content, since its name is a hash of it. rclone says that it may not be replaced.
            StatusCode::FORBIDDEN if self.list(area)?.iter().any(|it| it.0 == name) => Ok(()),
            _ => Err(refused(&url, &answer)),
        }
    }

    fn remove(&self, area: Area, name: &str) -> Result<(), OpError> {
        let url = self.at(area, name);
        let answer = self.ask(&url, || self.request(Method::DELETE, &url))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(refused(&url, &answer)),
        }
    }
}
