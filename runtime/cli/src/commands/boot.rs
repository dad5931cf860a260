//! A boot while it goes on, and `hob boot explain`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hob_daemon::keeper::{Keeper, Seen, explained, last_boot};
use hob_model::{Code, Diagnostic};
use hob_planner::ServiceState;
use hob_terminal::{Bars, Cell, Column, End, Progress, Role, Table, Task, Unit, human};

use crate::context::{Context, Exit, Outcome};
use crate::watch::since_start;

/// How often, without a terminal, a line says what a service still waits for.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Does `work`, which has services started, and shows how they get on: with a bar for each on a terminal, else in lines.
pub(crate) fn shown<T>(context: &Context, keeper: &Keeper, work: impl FnOnce() -> T) -> T {
    if context.global.quiet {
        return work();
    }
    match context.err.width_columns {
        Some(_) => {
            let mut bars = Shown { bars: Bars::stderr(context.err, since_start()), tasks: HashMap::new() };
            keeper.watched(&mut |seen| bars.show(seen), work)
        }
        None => {
            let mut lines = Told { context, clock: since_start(), begun: BTreeMap::new() };
            keeper.watched(&mut |seen| lines.show(seen), work)
        }
    }
}

/// A bar for each service that starts.
struct Shown {
    bars: Bars,
    tasks: HashMap<String, Box<dyn Task>>,
}

impl Shown {
    fn show(&mut self, seen: &[Seen]) {
        for it in seen {
            if it.state == ServiceState::Starting || it.fetching {
                let bars = &self.bars;
                let begin = || bars.start(&it.name, Unit::Step, None);
                let what = if it.fetching { "fetching its image" } else { &it.note };
                self.tasks.entry(it.name.clone()).or_insert_with(begin).message(what);
            } else if it.state != ServiceState::Stopped
                && let Some(task) = self.tasks.remove(&it.name)
            {
                task.finish(if it.state.is_ready() { End::Done } else { End::Failed });
            }
        }
    }
}

/// A line for each change, and now and then one for what still starts.
struct Told<'c> {
    context: &'c Context,
    clock: hob_terminal::progress::Clock,
    /// What was last said of each service, when its start began, and when that was said.
    begun: BTreeMap<String, (ServiceState, Duration, Duration)>,
}

impl Told<'_> {
    fn show(&mut self, seen: &[Seen]) {
        let now = (self.clock)();
        for it in seen {
            let (before, begun, said) =
                self.begun.get(&it.name).copied().unwrap_or((ServiceState::Stopped, now, now));
            let goes_on = before == it.state && it.state == ServiceState::Starting;
            let due = goes_on && now.saturating_sub(said) >= SAY_AGAIN;
            if before == it.state && !due {
                continue;
            }
            let begun = if before == ServiceState::Stopped { now } else { begun };
            self.begun.insert(it.name.clone(), (it.state, begun, now));
            let after = human::duration(now.saturating_sub(begun));
            let note = if it.note.is_empty() { String::new() } else { format!(": {}", it.note) };
            self.context.say(&match it.state {
                ServiceState::Starting if due => format!("{} starts since {after}{note}", it.name),
                ServiceState::Starting => format!("{} starts", it.name),
                state if state.is_ready() => format!("{} is {state} after {after}", it.name),
                state => format!("{} is {state}{note}", it.name),
            });
        }
    }
}

/// `hob boot explain`
pub(crate) fn explain(context: &Context) -> Outcome {
    let Some(boot) = last_boot(&*context.read()?)? else {
        let problem = Diagnostic::error(Code::UnknownName, "no boot is recorded yet");
        return Err(problem.hint("`hob up DIR` boots a homelab").into());
    };
    let (path, roots) = (boot.critical_path(), boot.roots());
    if context.global.json {
        context.print_json(&explained(&boot));
        return Ok(Exit::Done);
    }
    let ready = boot.services.iter().filter(|it| ["ready", "completed"].contains(&&*it.state)).count();
    context.print_line(&format!(
        "the boot of {} took {}: {ready} of {} services got ready",
        boot.began,
        millis(boot.took),
        boot.services.len(),
    ));
    for root in &roots {
        let blocked = if root.blocked.is_empty() { "nothing".to_owned() } else { root.blocked.join(", ") };
        context.print_line(&format!(
            "{}: {}\n  it blocked {blocked}",
            context.out.paint(Role::Error, &format!("{} failed", root.service)),
            root.note
        ));
    }
    if path.is_empty() {
        context.print_line("nothing got ready that had to be started");
        return Ok(Exit::Done);
    }
    context.print_line("\nwhat it waited for, one after the other");
    let numbers = ["FETCH", "TURN", "START", "GATE", "READY AT", "SAVES"].map(Column::number);
    let mut table = Table::new(["SERVICE", "AFTER"].map(Column::new).into_iter().chain(numbers));
    for link in &path {
        let times = [link.fetch, link.turn, link.start, link.gate, link.ready, link.saves];
        let names = [link.service.clone(), link.waited_for.clone().unwrap_or_else(|| "-".to_owned())];
        table.row(names.into_iter().chain(times.map(millis)).map(Cell::from));
    }
    context.print_line(table.render(context.out).trim_end());
    if let Some(most) = path.iter().max_by_key(|link| link.saves).filter(|link| link.saves > 0) {
        context.print_line(&format!(
            "\nif {} were ready at once, the boot would take {} instead of {}",
            most.service,
            millis(boot.took.saturating_sub(most.saves)),
            millis(boot.took)
        ));
    }
    Ok(Exit::Done)
}

fn millis(millis: u64) -> String {
    human::duration(Duration::from_millis(millis))
}
