//! Services and the state of the whole.

use axum::response::Response;
use hob_model::{Code, Diagnostic};
use hob_primitive::ServiceRequest;
use http::StatusCode;
use serde_json::Value as Json;

use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};
use crate::view::family_view;

type Reply = Result<Response, Refusal>;

pub(super) async fn status(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.status())).await?))
}

pub(super) async fn graphics(call: Call) -> Reply {
    Ok(ok(&call.app.blocking_long(|hub| Ok(hub.graphics())).await?))
}

pub(super) async fn numbers(call: Call) -> Reply {
    let families = call.app.numbers.measured().await;
    Ok(ok(&families.iter().map(family_view).collect::<Json>()))
}

pub(super) async fn plan(call: Call) -> Reply {
    Ok(ok(&call.app.blocking_long(|hub| Ok(hub.plan()?)).await?))
}

pub(super) async fn apply(call: Call) -> Reply {
    let basis = call.args.text("basis").unwrap_or_default().to_owned();
    Ok(ok(&call.app.blocking_long(move |hub| Ok(hub.bring_up(Some(&basis))?)).await?))
}

pub(super) async fn up(call: Call) -> Reply {
    Ok(ok(&call.app.blocking_long(|hub| Ok(hub.bring_up(None)?)).await?))
}

pub(super) async fn down(call: Call) -> Reply {
    Ok(ok(&call.app.blocking_long(|hub| Ok(hub.bring_down()?)).await?))
}

pub(super) async fn boot(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.boot()?)).await?))
}

async fn all(call: &Call) -> Result<Vec<Json>, Refusal> {
    let mut status = call.app.blocking(|hub| Ok(hub.status())).await?;
    match status.get_mut("services").map(Json::take) {
        Some(Json::Array(services)) => Ok(services),
        _ => Ok(Vec::new()),
    }
}

pub(super) async fn list(call: Call) -> Reply {
    Ok(ok(&Json::Array(all(&call).await?)))
}

pub(super) async fn show(call: Call) -> Reply {
    let name = call.path("service");
    let wanted = name.to_owned();
    if let Some(service) = call.app.blocking(move |hub| Ok(hub.service_status(&wanted))).await? {
        return Ok(ok(&service));
    }
    let services = all(&call).await?;
    let name_of = |service: &Json| service["name"].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = services.iter().map(name_of).collect();
    let problem = Diagnostic::error(Code::UnknownName, format!("there is no service `{name}`"));
    let refusal = Refusal::new(StatusCode::NOT_FOUND, problem);
    Err(match hob_model::names::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    })
}

async fn ask(call: Call, request: ServiceRequest) -> Reply {
    let name = call.path("service").to_owned();
    let done = call.app.blocking_long(move |hub| Ok(hub.service(&name, &request)?)).await?;
    Ok(ok(&done))
}

pub(super) async fn start(call: Call) -> Reply {
    ask(call, ServiceRequest::Start).await
}

pub(super) async fn stop(call: Call) -> Reply {
    ask(call, ServiceRequest::Stop).await
}

pub(super) async fn restart(call: Call) -> Reply {
    ask(call, ServiceRequest::Restart).await
}

pub(super) async fn renew(call: Call) -> Reply {
    ask(call, ServiceRequest::Renew).await
}

pub(super) async fn hold(call: Call) -> Reply {
    let reason = call.args.text("reason").unwrap_or_default().to_owned();
    let duration = call.args.duration("for");
    ask(call, ServiceRequest::Hold { duration, reason }).await
}

pub(super) async fn release(call: Call) -> Reply {
    ask(call, ServiceRequest::Release).await
}

pub(super) async fn update(call: Call) -> Reply {
    let dry_run = call.args.flag("dry_run").unwrap_or_default();
    let name = call.path("service").to_owned();
    let done = call.app.blocking_long(move |hub| Ok(hub.update_service(&name, dry_run)?)).await?;
    Ok(ok(&done))
}

pub(super) async fn setups(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.setups())).await?))
}

pub(super) async fn reset_setup(call: Call) -> Reply {
    let step = call.path("step").to_owned();
    Ok(ok(&call.app.blocking(move |hub| Ok(hub.reset_setup(&step)?)).await?))
}
