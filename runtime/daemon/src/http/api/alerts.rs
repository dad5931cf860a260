//! Alerts and silences.

use std::collections::BTreeMap;

use axum::response::Response;

use crate::alerts::SilenceOrder;
use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};

type Reply = Result<Response, Refusal>;

pub(super) async fn list(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.alerts())).await?))
}

pub(super) async fn test(call: Call) -> Reply {
    let (name, send) = (call.path("alert").to_owned(), call.args.flag("send") == Some(true));
    let numbers = call.app.numbers.at(call.app.hub.runs().now()).await;
    Ok(ok(&call.app.blocking(move |hub| Ok(hub.test_alert(&name, &numbers, send)?)).await?))
}

pub(super) async fn silence(call: Call) -> Reply {
    let mut labels = BTreeMap::new();
    for (label, value) in call.args.map("labels").into_iter().flatten() {
        let text = value.as_str().ok_or_else(|| Refusal::usage(format!("the label `{label}` is no text")))?;
        labels.insert(label.clone(), text.to_owned());
    }
    let order = SilenceOrder {
        alert: call.path("alert").to_owned(),
        labels,
        lasting: call.args.duration("for").unwrap_or_default(),
        reason: call.args.text("reason").unwrap_or_default().to_owned(),
    };
    Ok(ok(&call.app.blocking(move |hub| Ok(hub.silence(order)?)).await?))
}

pub(super) async fn unsilence(call: Call) -> Reply {
    let id = call.path("silence").to_owned();
    Ok(ok(&call.app.blocking(move |hub| Ok(hub.unsilence(&id)?)).await?))
}
