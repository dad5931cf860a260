//! `hob gpu`

use hob_model::{Code, Diagnostic, OpError, Value, size};
use hob_std_gpu::live::LiveGpu;
use hob_std_gpu::port::{Card, GpuProcess};
use hob_std_gpu::{rules, survey, value};
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Value as Json, json};

use super::remote::client;
use crate::context::{Context, Exit, Failure, Outcome};

type Found = (Vec<Card>, Vec<(usize, GpuProcess)>, Vec<String>);

/// `hob gpu`: the cards of this machine, who uses them, and who holds what of them by the ledger of the hob that serves.
pub(crate) fn show(context: &Context) -> Outcome {
    let (cards, processes, stale) = look().map_err(refused)?;
    // Without a hob that serves nobody shares the cards out.
    let ledger = client(context).get("/api/v1/graphics").unwrap_or_default();
    if context.global.json {
        let values = |it: Vec<Value>| it.iter().filter_map(|it| it.to_json().ok()).collect::<Vec<_>>();
        let cards = values(cards.iter().enumerate().map(|(index, it)| value::card(index, it)).collect());
        let processes = values(processes.iter().map(|(index, it)| value::process(*index, it)).collect());
        context.print_json(&json!({ "cards": cards, "processes": processes, "ledger": ledger }));
        return Ok(Exit::Done);
    }
    if cards.is_empty() {
        context.say("this machine has no graphics card that its kernel shows");
        return Ok(Exit::Done);
    }
    context.print_line(card_table(&cards).render(context.out).trim_end());
    if !processes.is_empty() {
        context.print_line("");
        context.print_line(process_table(&processes).render(context.out).trim_end());
    }
    if !ledger.is_null() {
        context.print_line("");
        context.print_line(ledger_table(&ledger).render(context.out).trim_end());
    }
    for card in &cards {
        if let Some(problem) = &card.problem {
            context.say(&format!("{}: {problem}", card.name));
        }
    }
    stale.iter().for_each(|stale| context.say(stale));
    Ok(Exit::Done)
}

fn look() -> Result<Found, OpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OpError::io(&error, "the threads"))?;
    let port = LiveGpu::new();
    runtime.block_on(async {
        let cards = survey::cards(&port).await?;
        let processes = survey::processes(&port, &cards).await?;
        let stale = survey::stale(&port).await?;
        Ok((cards, processes, stale))
    })
}

fn refused(error: OpError) -> Failure {
    Diagnostic::error(Code::OperationFailed, error.message).maybe_hint(error.hint).into()
}

fn or_dash(text: Option<String>) -> Cell {
    Cell::from(text.unwrap_or_else(|| "-".to_owned()))
}

fn percent(value: Option<u32>) -> Cell {
    or_dash(value.map(|it| format!("{it} %")))
}

fn card_table(cards: &[Card]) -> Table {
    let mut table = Table::new([
        Column::number("GPU"),
        Column::new("NAME"),
        Column::new("KIND"),
        Column::number("USED"),
        Column::number("MEMORY"),
        Column::number("BUSY"),
        Column::number("ENCODER"),
        Column::number("HEAT"),
        Column::number("POWER"),
        Column::new("ADDRESS"),
        Column::new("STATE"),
    ]);
    for (index, card) in cards.iter().enumerate() {
        let kind = card.compute.and_then(rules::of).map(|rule| rule.architecture.to_owned());
        let state = match card.problem {
            None => Cell::new(Role::Success, "usable"),
            Some(_) => Cell::new(Role::Error, "unusable"),
        };
        table.row([
            Cell::from(index.to_string()),
            Cell::new(Role::Name, card.name.clone()),
            or_dash(kind),
            or_dash(card.memory.map(|it| size::format(it.used))),
            or_dash(card.memory.map(|it| size::format(it.total))),
            percent(card.utilization.gpu),
            percent(card.utilization.encoder),
            or_dash(card.sensors.temperature.map(|it| format!("{it} °C"))),
            or_dash(card.sensors.power_draw.map(|it| format!("{} W", it / 1000))),
            or_dash(card.pci.clone()),
            state,
        ]);
    }
    table
}

/// Who holds what of the cards, what of them is nobody's who is known, and who waits.
fn ledger_table(ledger: &Json) -> Table {
    let mut table = Table::new([
        Column::number("GPU"),
        Column::new("WHO"),
        Column::number("DECLARED"),
        Column::number("MEASURED"),
        Column::number("PRIORITY"),
        Column::new("STATE"),
    ]);
    let all = |key: &str| ledger[key].as_array().cloned().unwrap_or_default();
    let number = |value: &Json| or_dash(value.as_i64().map(|it| it.to_string()));
    let bytes = |value: &Json| or_dash(value.as_u64().map(size::format));
    let mut row = |it: &Json, state: Cell| {
        let name = match (it["service"].as_str(), it["run"].as_str()) {
            (Some(service), _) => Cell::new(Role::Name, service),
            (None, Some(run)) => Cell::new(Role::Name, format!("run {run}")),
            (None, None) => Cell::from("(others)"),
        };
        let (declared, measured) = (bytes(&it["declared"]), bytes(&it["measured"]));
        table.row([number(&it["card"]), name, declared, measured, number(&it["priority"]), state]);
    };
    for claim in all("claims") {
        let state = match (claim["leaves"] == true, claim["given_back"] == true) {
            (true, _) => Cell::new(Role::Warning, "leaves"),
            (false, true) => Cell::new(Role::Warning, "unloaded"),
            (false, false) => Cell::new(Role::Success, "holds"),
        };
        row(&claim, state);
    }
    for (index, card) in all("cards").iter().enumerate().filter(|(_, card)| card["foreign"] != 0) {
        row(&json!({ "card": index, "measured": card["foreign"] }), Cell::from("holds"));
    }
    for waiting in all("waiting") {
        row(&waiting, Cell::new(Role::Warning, "waits"));
    }
    table
}

fn process_table(processes: &[(usize, GpuProcess)]) -> Table {
    let mut table = Table::new([
        Column::number("GPU"),
        Column::number("PID"),
        Column::new("NAME"),
        Column::new("WORK"),
        Column::number("MEMORY"),
        Column::new("RUNS IN"),
    ]);
    for (index, process) in processes {
        // A container's id is told apart by its first twelve digits, as engines show it.
        let container = process.container.as_ref().map(|id| format!("container {:.12}", id));
        table.row([
            Cell::from(index.to_string()),
            Cell::from(process.pid.to_string()),
            or_dash(process.name.clone()),
            Cell::from(process.work.as_str().to_owned()),
            or_dash(process.memory.map(size::format)),
            or_dash(container.or_else(|| process.unit.clone())),
        ]);
    }
    table
}
