//! The cards as services share them.

use std::sync::Arc;
use std::time::Duration;

use hob_model::OpError;
use hob_planner::room;
use hob_supervisor::Running;
use hob_supervisor::graphics::{Graphics, Seen, Use};

use crate::access::{self, Form};
use crate::port::{Card, GpuPort, GpuProcess};
use crate::{rules, survey};

/// How long a driver may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The cards that a port finds, shared by services.
pub struct SharedCards(pub Arc<dyn GpuPort>);

impl SharedCards {
    fn ask<T>(&self, asked: impl Future<Output = Result<T, OpError>>) -> Result<T, OpError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| OpError::io(&error, "the threads"))?;
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        // A driver that hangs must not hold up who drops the runtime.
        runtime.shutdown_background();
        let late = || OpError::timeout("the driver of the graphics cards does not answer");
        answer.unwrap_or_else(|_| Err(late().nothing_happened()))
    }
}

impl Graphics for SharedCards {
    fn look(&self, services: &[Running]) -> Result<Seen, OpError> {
        self.ask(async {
            let cards = survey::cards(&*self.0).await?;
            let processes = survey::processes(&*self.0, &cards).await?;
            Ok(Seen {
                uses: uses(services, processes.iter().map(|(_, process)| process)),
                cards: cards.iter().map(card).collect(),
            })
        })
    }

    fn devices(&self, card: Option<&str>) -> Result<Vec<String>, OpError> {
        self.ask(async {
            let cards = survey::cards(&*self.0).await?;
            let chosen: Vec<&Card> = cards.iter().filter(|it| card.is_none_or(|id| it.id == id)).collect();
            if chosen.is_empty() {
                return Err(OpError::not_found("the graphics card is not there any more").nothing_happened());
            }
            let every = chosen.len() == cards.len();
            access::given(&*self.0, &chosen, every, Form::Best).await.map_err(OpError::nothing_happened)
        })
    }
}

fn card(card: &Card) -> room::Card {
    let rule = card.compute.and_then(rules::of);
    let owned = |formats: &[&str]| formats.iter().map(|&it| it.to_owned()).collect();
    room::Card {
        id: card.id.clone(),
        name: card.name.clone(),
        capacity: card.memory.map(|it| it.total.saturating_sub(it.reserved)),
        used: card.memory.map_or(0, |it| it.used),
        can: rule.map(|rule| room::Abilities {
            generation: rule.architecture.to_owned(),
            encodes: owned(rule.encode),
            decodes: owned(rule.decode),
            fp16: rule.fp16,
        }),
        problem: card.problem.clone(),
    }
}

/// What each service uses of each card: its processes are those of its container, and those that its own has started.
fn uses<'p>(services: &[Running], processes: impl Iterator<Item = &'p GpuProcess>) -> Vec<Use> {
    let is_of = |process: &GpuProcess, service: &Running| {
        let descends = service.pid.is_some_and(|pid| process.pid == pid || process.parents.contains(&pid));
        let is_inside = |id: &String| service.instance.0.split(' ').next() == Some(id);
        descends || process.container.as_ref().is_some_and(is_inside)
    };
    let mut uses: Vec<Use> = Vec::new();
    for process in processes {
        let Some(service) = services.iter().find(|service| is_of(process, service)) else { continue };
        let known = uses.iter_mut().find(|it| it.service == service.name && it.card == process.card);
        match known {
            Some(known) => known.bytes = known.bytes.zip(process.memory).map(|(one, other)| one + other),
            None => uses.push(Use {
                service: service.name.clone(),
                card: process.card.clone(),
                bytes: process.memory,
            }),
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use hob_supervisor::Instance;

    use super::*;
    use crate::port::Work;

    fn running(name: &str, instance: &str, pid: u32) -> Running {
        Running {
            name: name.to_owned(),
            instance: Instance(instance.to_owned()),
            pid: Some(pid),
            key: String::new(),
            digest: None,
            started: hob_model::Timestamp::UNIX_EPOCH,
        }
    }

    fn process(pid: u32, parents: &[u32], container: Option<&str>, memory: Option<u64>) -> GpuProcess {
        GpuProcess {
            card: "a".to_owned(),
            pid,
            name: None,
            work: Work::Compute,
            memory,
            container: container.map(str::to_owned),
            unit: None,
            parents: parents.to_vec(),
        }
    }

    #[test]
    fn memory_is_that_of_the_service_whose_processes_hold_it() {
        let services = [running("frigate", "4f 2026", 10), running("ollama", "boot 20", 20)];
        let processes = [
            process(10, &[1], Some("4f"), Some(3)),
            process(77, &[76, 1], Some("4f"), Some(4)),
            process(21, &[20, 1], None, None),
            process(22, &[21, 20, 1], None, Some(9)),
            process(30, &[1], Some("other"), Some(5)),
        ];
        let uses = uses(&services, processes.iter());
        let told: Vec<_> = uses.iter().map(|it| (it.service.as_str(), it.bytes)).collect();
        assert_eq!(told, [("frigate", Some(7)), ("ollama", None)]);
    }
}
