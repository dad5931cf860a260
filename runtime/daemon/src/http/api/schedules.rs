//! The schedules.

use axum::response::Response;

use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};
use crate::schedules::{Backfill, ScheduleCommand};

type Reply = Result<Response, Refusal>;

pub(super) async fn list(call: Call) -> Reply {
    Ok(ok(&call.app.blocking(|hub| Ok(hub.schedules())).await?))
}

async fn command(call: Call, command: ScheduleCommand) -> Reply {
    let name = call.path("schedule").to_owned();
    Ok(ok(&call.app.blocking(move |hub| Ok(hub.schedule(&name, command)?)).await?))
}

pub(super) async fn run(call: Call) -> Reply {
    command(call, ScheduleCommand::Run).await
}

pub(super) async fn pause(call: Call) -> Reply {
    let reason = call.args.text("reason").unwrap_or_default().to_owned();
    command(call, ScheduleCommand::Pause { reason }).await
}

pub(super) async fn resume(call: Call) -> Reply {
    command(call, ScheduleCommand::Resume).await
}

pub(super) async fn backfill(call: Call) -> Reply {
    let dry = call.args.flag("dry") == Some(true);
    let range = Backfill::between(call.args.text("from").unwrap_or_default(), call.args.text("to"), dry)?;
    command(call, ScheduleCommand::Backfill(range)).await
}
