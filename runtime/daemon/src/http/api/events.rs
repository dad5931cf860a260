//! The event bus.

use axum::response::Response;
use hob_journal::EventRow;
use hob_model::Value;
use hob_model::pattern::wildcard;
use serde_json::{Value as Json, json};

use crate::http::app::App;
use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};
use crate::http::stream::{self, Gone};
use crate::view::event_view;

type Reply = Result<Response, Refusal>;

/// Events of one answer when no other number is asked for, and the most.
const EVENTS_USUAL: u64 = 100;
const EVENTS_MAX: u64 = 10_000;
/// Events that a stream reads at one time.
const EVENTS_AT_ONCE: usize = 1_000;
fn fits(name: Option<&str>, event: &EventRow) -> bool {
    name.is_none_or(|pattern| wildcard(pattern, &event.name))
}

pub(super) async fn list(call: Call) -> Reply {
    let name = call.args.text("name").map(str::to_owned);
    let after = call.args.count("after");
    if call.args.flag("follow") == Some(true) {
        return follow(&call, after, name);
    }
    let limit = call.args.count("limit").unwrap_or(EVENTS_USUAL).min(EVENTS_MAX);
    let events = call.app.blocking(move |hub| {
        let journal = hub.runs().journal();
        let mut from = match after {
            Some(after) => after,
            None => journal.last_event()?.saturating_sub(limit),
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        while found.len() < limit {
            let events = journal.events(from, EVENTS_AT_ONCE)?;
            let Some(last) = events.last() else { break };
            from = last.id;
            found.extend(events.iter().filter(|event| fits(name.as_deref(), event)).map(event_view));
        }
        found.truncate(limit);
        Ok(Json::Array(found))
    });
    Ok(ok(&events.await?))
}

fn follow(call: &Call, after: Option<u64>, name: Option<String>) -> Reply {
    let app = std::sync::Arc::clone(&call.app);
    stream::open(&call.app, move |sink| async move {
        let mut news = app.waiters.events();
        let mut from = match after {
            Some(after) => after,
            None => last_event(&app).await?,
        };
        loop {
            let events = app.blocking(move |hub| Ok(hub.runs().journal().events(from, EVENTS_AT_ONCE)?));
            let events = events.await.map_err(|_| Gone)?;
            for event in events.iter().filter(|event| fits(name.as_deref(), event)) {
                sink.send("event", Some(event.id), &event_view(event)).await?;
            }
            from = events.last().map_or(from, |last| last.id);
            if events.len() == EVENTS_AT_ONCE {
                continue;
            }
            tokio::select! {
                changed = news.changed() => changed.map_err(|_| Gone)?,
                () = sink.gone() => return Err(Gone),
            }
        }
    })
}

async fn last_event(app: &App) -> Result<u64, Gone> {
    app.blocking(|hub| Ok(hub.runs().journal().last_event()?)).await.map_err(|_| Gone)
}

pub(super) async fn emit(call: Call) -> Reply {
    let name = call.args.text("name").unwrap_or_default().to_owned();
    let payload = call.args.value("payload")?.unwrap_or(Value::Unit);
    hob_model::event::check(&name, &payload).map_err(|error| {
        let refusal = Refusal::usage(error.message);
        refusal.hint(error.hint.unwrap_or_default())
    })?;
    call.app.check_room()?;
    let (event, origin) = (name.clone(), call.peer.name());
    call.app.blocking(move |hub| Ok(hub.runs().emit(&event, payload, &origin)?)).await?;
    Ok(ok(&json!({ "name": name })))
}

pub(super) async fn notices(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.notices())).await?))
}

pub(super) async fn clear_notices(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.clear_notices())).await?))
}
