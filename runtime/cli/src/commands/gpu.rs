//! `hob gpu`

use hob_model::{Code, Diagnostic, OpError, Value, size};
use hob_std_gpu::live::LiveGpu;
use hob_std_gpu::port::{Card, GpuProcess};
use hob_std_gpu::{rules, survey, value};
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::json;

use crate::context::{Context, Exit, Failure, Outcome};

type Found = (Vec<Card>, Vec<(usize, GpuProcess)>);

/// `hob gpu`: the cards of this machine and who uses them.
pub(crate) fn show(context: &Context) -> Outcome {
    let (cards, processes) = look().map_err(refused)?;
    if context.global.json {
        let values = |it: Vec<Value>| it.iter().filter_map(|it| it.to_json().ok()).collect::<Vec<_>>();
        let cards = values(cards.iter().enumerate().map(|(index, it)| value::card(index, it)).collect());
        let processes = values(processes.iter().map(|(index, it)| value::process(*index, it)).collect());
        context.print_json(&json!({ "cards": cards, "processes": processes }));
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
    for card in &cards {
        if let Some(problem) = &card.problem {
            context.say(&format!("{}: {problem}", card.name));
        }
    }
    Ok(Exit::Done)
}

fn look() -> Result<Found, OpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| OpError::io(&error, "the threads"))?;
    let port = LiveGpu::new();
    runtime.block_on(async {
        let cards = survey::cards(&port).await?;
        let processes = survey::processes(&port, &cards).await?;
        Ok((cards, processes))
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
