//! Backups of datasets.

use axum::response::Response;
use serde_json::json;

use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};

type Reply = Result<Response, Refusal>;

pub(super) async fn list(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.backups()?)).await?))
}

pub(super) async fn start(call: Call) -> Reply {
    let (dataset, act) = (call.path("dataset").to_owned(), call.path("act").to_owned());
    let input = call.args.value("input")?.unwrap_or_else(|| hob_model::Value::Map(Default::default()));
    let run = call.app.blocking(move |hub| Ok(hub.backup(&dataset, &act, input)?)).await?;
    Ok(ok(&json!({ "run": run.to_string() })))
}
