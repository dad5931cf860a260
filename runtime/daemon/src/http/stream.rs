//! Streams of server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hob_model::{Code, Diagnostic};
use http::StatusCode;
use serde_json::Value as Json;
use tokio::sync::mpsc;

use super::app::App;
use super::reply::Refusal;

/// Events that wait for a slow reader; the writer waits beyond.
const EVENTS_AHEAD_MAX: usize = 64;
/// The pause after which an idle stream says that it lives; so a reader that went away is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The reader has gone.
pub(crate) struct Gone;

/// Where the events of a stream go.
pub(crate) struct Sink(mpsc::Sender<Event>);

impl Sink {
    /// Sends an event, once there is room for it. `id` lets a reader go on from there.
    pub(crate) async fn send(&self, name: &str, id: Option<u64>, data: &Json) -> Result<(), Gone> {
        let mut event = Event::default().event(name).data(data.to_string());
        if let Some(id) = id {
            event = event.id(id.to_string());
        }
        self.0.send(event).await.map_err(|_| Gone)
    }

    /// Returns when the reader has gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

/// Answers with a stream that `write` fills until it returns, the reader goes or hob stops.
pub(crate) fn open<F>(app: &App, write: impl FnOnce(Sink) -> F) -> Result<Response, Refusal>
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let place = std::sync::Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        let problem = Diagnostic::error(Code::LimitReached, "too many streams are open");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
    })?;
    let (sender, receiver) = mpsc::channel(EVENTS_AHEAD_MAX);
    let writing = write(Sink(sender));
    let closing = app.closing.clone();
    app.tasks.spawn(async move {
        let _place = place;
        tokio::select! {
            _ = writing => {}
            () = closing.cancelled() => {}
        }
    });
    let events = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
