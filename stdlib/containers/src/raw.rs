//! Requests of our own beside bollard's, for answers that its types refuse and for Podman's own API.
//!
//! Podman has states of containers that Docker has not (`stopped` for a moment after each end, `initialized`,
//! `configured`), and one such container would make a whole list unreadable.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::port::{EngineError, Fault};
use crate::sockets::Address;

/// The longest answer, 64 MiB: some ten thousand containers.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The states that Docker knows.
const STATES: &[&str] =
    &["created", "running", "paused", "restarting", "exited", "removing", "dead", "stopping", ""];

/// Asks for `path` and gives the answer with states that Docker knows.
pub(crate) async fn get(address: &Address, path: String) -> Result<Json, EngineError> {
    let mut json = request(address, Method::GET, &path, Bytes::new()).await?;
    translate(&mut json);
    Ok(json)
}

/// Sends `body` to `path` and gives the answer.
pub(crate) async fn post(address: &Address, path: &str, body: &Json) -> Result<Json, EngineError> {
    request(address, Method::POST, path, Bytes::from(body.to_string())).await
}

/// What an engine says of itself at once. Its `/version` takes Podman as long as starting a container: that looks which
/// packages of the machine its helpers are from.
pub(crate) struct Ping {
    /// The version of the API that it speaks: `1.41`.
    pub(crate) api: Option<String>,
    /// The version of Podman, where it is Podman: `4.3.1`.
    pub(crate) podman: Option<String>,
}

/// Asks an engine what it is.
pub(crate) async fn ping(address: &Address) -> Result<Ping, EngineError> {
    let (headers, _) = send(address, Method::GET, "/_ping", Bytes::new()).await?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Ping { api: text("api-version"), podman: text("libpod-api-version") })
}

async fn request(address: &Address, method: Method, path: &str, body: Bytes) -> Result<Json, EngineError> {
    let (_, bytes) = send(address, method, path, body).await?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))
}

async fn send(
    address: &Address,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(HeaderMap, Bytes), EngineError> {
    match address {
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(|error| unreached(socket, &error))?;
            ask(stream, method, path, body).await
        }
        Address::Tcp(host) => {
            let stream = TcpStream::connect(host).await.map_err(|error| unreached(host, &error))?;
            ask(stream, method, path, body).await
        }
    }
}

fn unreached(at: &str, error: &std::io::Error) -> EngineError {
    match error.kind() {
        std::io::ErrorKind::NotFound => EngineError::new(Fault::NoSocket, format!("{at} is not there")),
        std::io::ErrorKind::PermissionDenied => EngineError::new(Fault::NoPermission, error.to_string()),
        _ => EngineError::new(Fault::Refused, error.to_string()),
    }
}

/// The error of an answer that is not what the API says.
pub(crate) fn unreadable(error: &serde_json::Error) -> EngineError {
    EngineError::new(Fault::Other, format!("its answer cannot be read: {error}"))
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(HeaderMap, Bytes), EngineError> {
    let lost = |error: hyper::Error| EngineError::new(Fault::Lost, error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let request = Request::builder().method(method).uri(path).header(http::header::HOST, "engine");
    let request = request.header(http::header::CONTENT_TYPE, "application/json").body(Full::new(body));
    let request = request.map_err(|error| EngineError::new(Fault::Other, error.to_string()))?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(lost)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| EngineError::new(Fault::Lost, error.to_string()))?.to_bytes();
        Ok((head, bytes))
    };
    let asked = tokio::select! {
        asked = asking => asked,
        // It carries the request; when it ends before the answer, the engine has gone.
        Err(error) = connection => Err(lost(error)),
    };
    let (head, bytes) = asked?;
    match head.status {
        StatusCode::OK | StatusCode::CREATED => Ok((head.headers, bytes)),
        status => Err(EngineError::new(Fault::Status(status.as_u16()), message(&bytes))),
    }
}

/// What an error says: `{"message": …}`; Podman's `cause` is a part of its message.
fn message(bytes: &[u8]) -> String {
    let said: Option<Json> = serde_json::from_slice(bytes).ok();
    let text = said.as_ref().and_then(|json| json.get("message")).and_then(Json::as_str);
    text.map_or_else(|| String::from_utf8_lossy(bytes).trim().to_owned(), str::to_owned)
}

/// Puts the nearest state of Docker in the place of each that is only Podman's.
fn translate(json: &mut Json) {
    match json {
        Json::Array(containers) => containers.iter_mut().for_each(translate),
        Json::Object(container) => match container.get_mut("State") {
            Some(Json::String(state)) => docker_state(state),
            Some(Json::Object(state)) => {
                if let Some(Json::String(status)) = state.get_mut("Status") {
                    docker_state(status);
                }
            }
            _ => {}
        },
        _ => {}
    }
}

fn docker_state(state: &mut String) {
    if !STATES.contains(&state.as_str()) {
        *state = match state.as_str() {
            "stopped" => "exited".to_owned(),
            "configured" | "initialized" => "created".to_owned(),
            _ => String::new(),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_that_only_podman_has() {
        let mut list =
            json!([{"State": "stopped"}, {"State": "initialized"}, {"State": "exited"}, {"State": "new"}]);
        translate(&mut list);
        assert_eq!(
            list,
            json!([{"State": "exited"}, {"State": "created"}, {"State": "exited"}, {"State": ""}])
        );
        let mut one = json!({"State": {"Status": "stopped", "Running": false}});
        translate(&mut one);
        assert_eq!(one, json!({"State": {"Status": "exited", "Running": false}}));
    }
}
