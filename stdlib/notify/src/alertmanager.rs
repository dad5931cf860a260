//! An Alertmanager over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hob_model::OpError;
use hob_primitive::{AlertReceiver, BoxFuture};
use hob_std_http::port::{Request, Route};
use hob_std_http::{HttpPort, LiveHttp};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

/// Where it takes alerts, below its address.
const PATH: &str = "/api/v2/alerts";
/// How much of its refusal is shown, in bytes.
const EXCERPT_BYTES_MAX: usize = 500;

/// Reaches an Alertmanager.
pub(crate) struct Alertmanager {
    http: Arc<dyn HttpPort>,
}

impl Alertmanager {
    pub(crate) fn new() -> Self {
        Self { http: Arc::new(LiveHttp::new()) }
    }
}

impl AlertReceiver for Alertmanager {
    fn send(self: Arc<Self>, url: String, alerts: String) -> BoxFuture<()> {
        Box::pin(async move {
            let address = format!("{}{PATH}", url.trim_end_matches('/'));
            let url =
                Url::parse(&address).map_err(|error| OpError::invalid(format!("{address}: {error}")))?;
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let (method, body, route) = (Method::POST, Bytes::from(alerts), Route::default());
            let request = Request { method, url, headers, body, route };
            let reply = self.http.send(request).await;
            let mut reply = reply.map_err(|error| OpError::unavailable(error.to_string()))?;
            if (200..300).contains(&reply.status) {
                return Ok(());
            }
            let first = reply.body.next().await.and_then(Result::ok).unwrap_or_default();
            let said = String::from_utf8_lossy(&first[..first.len().min(EXCERPT_BYTES_MAX)]).into_owned();
            Err(OpError::failed(format!("it answers {}: {}", reply.status, said.trim())))
        })
    }
}
