//! What all requests share, and which way each goes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, on};
use hob_model::{Code, Diagnostic};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::ROUTES;
use super::deliveries::Deliveries;
use super::reply::Refusal;
use super::route::{self, API_PREFIX};
use super::waiters::Waiters;
use super::{Limits, links, openapi, webhook};
use crate::hub::Hub;
use crate::metrics::Numbers;

/// Requests whose blocking part (the journal, the start of a run) is under way at one time; more wait in line.
const BLOCKING_MAX: usize = 64;
/// Commands about services that are carried out at one time: each may take minutes.
const SERVICE_COMMANDS_MAX: usize = 16;
/// Streams that are open at one time; more are refused.
const STREAMS_MAX: usize = 64;

/// When to come again after a refusal for want of room, in seconds.
const FULL_RETRY_SECONDS: &str = "5";

/// What all requests share.
pub(crate) struct App {
    pub(crate) hub: Arc<dyn Hub>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) limits: Limits,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) numbers: Arc<Numbers>,
    blocking: Semaphore,
    commands: Semaphore,
}

impl App {
    pub(crate) fn new(
        hub: Arc<dyn Hub>,
        waiters: Arc<Waiters>,
        limits: Limits,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            numbers: hub.numbers().unwrap_or_else(|| Arc::new(Numbers::new(&hub))),
            hub,
            waiters,
            limits,
            closing,
            tasks,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            deliveries: Arc::default(),
            blocking: Semaphore::new(BLOCKING_MAX),
            commands: Semaphore::new(SERVICE_COMMANDS_MAX),
        }
    }

    /// Whether more work is taken: beyond its limits it is refused, with the advice to come again, and never dropped
    /// later.
    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        match self.hub.full() {
            None => Ok(()),
            Some(why) => {
                let problem =
                    Diagnostic::error(Code::Usage, format!("hob has more to do than it takes: {why}"));
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, problem);
                Err(refusal.hint("try again later").header(RETRY_AFTER, FULL_RETRY_SECONDS))
            }
        }
    }

    /// Does what may block for the time of a disk access, off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Hub) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.blocking.acquire().await;
        self.off(work).await
    }

    /// As [`App::blocking`], for what may take minutes.
    pub(crate) async fn blocking_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Hub) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.commands.acquire().await;
        self.off(work).await
    }

    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Hub) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let hub = Arc::clone(&self.hub);
        match tokio::task::spawn_blocking(move || work(&*hub)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(stopping()),
            },
        }
    }
}

/// hob is about to end.
pub(crate) fn stopping() -> Refusal {
    let problem = Diagnostic::error(Code::NoDaemon, "hob is stopping");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
}

/// Everything that is answered.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health))
        .route("/healthz/{service}", get(health_of))
        .route("/metrics", get(numbers))
        .route("/hooks/{*path}", any(webhook::deliver))
        .route("/links/{link}", any(links::answer))
        .route(&format!("{API_PREFIX}{}", openapi::PATH), get(openapi::document));
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let mut methods = axum::routing::MethodRouter::new();
        let mut allowed = Vec::new();
        for route in ROUTES.iter().filter(|route| route.path == path) {
            let filter = match route.method {
                Method::GET => axum::routing::MethodFilter::GET,
                _ => axum::routing::MethodFilter::POST,
            };
            allowed.push(route.method.as_str());
            methods = methods.merge(on(filter, move |state, request| route::serve(route, state, request)));
        }
        let allowed = allowed.join(", ");
        let methods = methods.fallback(move || async move { wrong_method(&allowed) });
        router = router.route(&format!("{API_PREFIX}{path}"), methods);
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(|| async { wrong_method("GET") })
        .with_state(app)
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if app.hub.ready() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

/// Whether a service is ready, for load balancers and for those who watch from outside.
async fn health_of(State(app): State<Arc<App>>, Path(service): Path<String>) -> Response {
    match app.hub.health(&service) {
        Some((state, true)) => (StatusCode::OK, format!("{state}\n")).into_response(),
        Some((state, false)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{state}\n")).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such service\n").into_response(),
    }
}

async fn numbers(State(app): State<Arc<App>>) -> Response {
    let mut response = app.numbers.text().await.into_response();
    let exposition = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, exposition);
    response
}

async fn nothing_here(uri: http::Uri) -> Refusal {
    let text = format!("there is nothing at `{}`", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, Diagnostic::error(Code::Usage, text))
        .hint(format!("{API_PREFIX}{} lists what there is", openapi::PATH))
}

/// The answer to a method that a path does not have.
pub(crate) fn wrong_method(allowed: &str) -> Refusal {
    let text = format!("only {allowed} is answered here");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Diagnostic::error(Code::Usage, text))
        .header_text(ALLOW, allowed)
}
