//! What a route of the API is. From this one declaration come the routing, the check of its arguments and its part of
//! the OpenAPI document.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hob_model::RunId;
use http::{Method, Request, StatusCode};
use serde_json::Value as Json;

use super::access::Peer;
use super::app::App;
use super::body;
use super::query::{Args, Field};
use super::reply::{Refusal, json_reply};
use crate::hub::Hub;

/// What stands before each route.
pub(crate) const API_PREFIX: &str = "/api/v1";
/// The largest body of a usual call, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The largest body of a call that brings sources along, in bytes.
pub(crate) const SOURCES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a route answers with, beside errors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// JSON of the schema with this name.
    Json(&'static str),
    /// A list of them.
    List(&'static str),
    /// A list of them or, when `follow` is asked for, a stream of server-sent events.
    ListOrStream(&'static str),
}

/// A route.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Below [`API_PREFIX`], with `{name}` for parameters.
    pub(crate) path: &'static str,
    /// Its name in the OpenAPI document.
    pub(crate) id: &'static str,
    pub(crate) about: &'static str,
    pub(crate) query: &'static [Field],
    pub(crate) body: &'static [Field],
    pub(crate) body_bytes_max: usize,
    pub(crate) status: StatusCode,
    pub(crate) answer: Answer,
    pub(crate) handler: fn(Call) -> BoxFuture<'static, Result<Response, Refusal>>,
}

/// One call of a route.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) peer: Peer,
    pub(crate) args: Args,
    path: Vec<(String, String)>,
}

impl Call {
    /// A parameter of the path.
    pub(crate) fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Does what may block with the run that the path names, by its id or the beginning of it.
    pub(crate) async fn with_run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Hub, RunId) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let prefix = self.path("run").to_owned();
        self.app.blocking(move |hub| work(hub, hub.runs().find(&prefix)?)).await
    }
}

/// Answers with JSON.
pub(crate) fn ok(json: &Json) -> Response {
    json_reply(StatusCode::OK, json)
}

pub(crate) async fn serve(
    route: &'static Route,
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Response {
    match call(route, app, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn call(route: &'static Route, app: Arc<App>, request: Request<Body>) -> Result<Response, Refusal> {
    let (mut head, body) = request.into_parts();
    let params = head.extract::<RawPathParams>().await;
    let params = params.map_err(|error| Refusal::usage(format!("the path is not UTF-8: {error}")))?;
    let path = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let peer = *head.extensions.get::<Peer>().expect("each request is given its peer when it is accepted");
    let mut args = Args::default();
    args.add_query(route.query, head.uri.query())?;
    let bytes = body::read(body, route.body_bytes_max, app.limits.body_read).await?;
    args.add_body(route.body, &bytes)?;
    let mut response = (route.handler)(Call { app, peer, args, path }).await?;
    if response.status() == StatusCode::OK {
        *response.status_mut() = route.status;
    }
    Ok(response)
}
