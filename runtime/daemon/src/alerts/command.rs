//! What people do about alerts: list, silence, test.

use std::time::Duration;

use hob_alerts::board::with_labels;
use hob_alerts::{Board, Finding, Health, Instance, Labels, Message, Rule, Silence, State};
use hob_engine::{Numbers, SCRIPT_STACK_BYTES};
use hob_journal::{Commit, Write};
use hob_model::{Code, Diagnostic, names};
use hob_planner::declaration::Looks;
use hob_primitive::Family;
use serde_json::{Value as Json, json};

use super::judge::Verdict;
use super::{Alerts, lock, raise};

/// Silences that are kept at one time.
const SILENCES_MAX: usize = 1_000;

/// What is to be silenced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SilenceOrder {
    /// The names of alerts; `*` stands for any characters.
    pub alert: String,
    /// The labels that something must have; `*` stands for any characters.
    pub labels: Labels,
    /// For how long.
    pub lasting: Duration,
    /// Why.
    pub reason: String,
}

impl Alerts {
    /// What `hob alerts list --json` prints.
    pub(crate) fn list(&self) -> Json {
        let state = lock(&self.state);
        let alerts: Vec<Json> = state
            .board
            .all()
            .zip(&self.alerts)
            .map(|((rule, health, instances), alert)| {
                let found =
                    instances.iter().map(|(labels, it)| instance_json(&state.board, rule, labels, it));
                json!({
                    "name": rule.name,
                    "severity": rule.severity.as_str(),
                    "group": rule.group,
                    "state": state_of(health, instances.values()),
                    "every": match alert.looks {
                        Looks::Every(every) => Json::from(hob_model::duration::format(every)),
                        Looks::On(_) => Json::Null,
                    },
                    "note": note(health),
                    "instances": found.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({ "alerts": alerts, "silences": state.board.silences().map(silence_json).collect::<Vec<_>>() })
    }

    /// How many things are pending and firing, for `/metrics`.
    pub(crate) fn family(&self) -> Family {
        let state = lock(&self.state);
        let mut family = Family::gauge("hob_alerts", "Things that alerts found, by what becomes of them");
        for (rule, _, instances) in state.board.all() {
            for wanted in [State::Pending, State::Firing] {
                let count = instances.values().filter(|it| it.state == wanted).count();
                let labels = vec![
                    ("alert", rule.name.clone()),
                    ("severity", rule.severity.as_str().to_owned()),
                    ("state", wanted.as_str().to_owned()),
                ];
                family.push(labels, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
            }
        }
        family
    }

    /// Does not tell of some things for a while; durable when this returns.
    ///
    /// # Errors
    /// When it covers no alert, or it cannot be recorded.
    pub(crate) fn silence(&self, order: SilenceOrder) -> Result<Json, Diagnostic> {
        let known: Vec<&str> = self.alerts.iter().map(|it| &*it.rule.name).collect();
        if !known.iter().any(|name| hob_model::pattern::wildcard(&order.alert, name)) {
            return Err(unknown(&order.alert, &known));
        }
        let now = self.runs.now();
        let until = now.checked_add(order.lasting).ok().filter(|until| *until > now);
        let until = until.ok_or_else(|| Diagnostic::error(Code::Usage, "a silence has an end after now"))?;
        let id = self.runs.new_id().to_string();
        let id = id.get(id.len() - 8..).unwrap_or(&id).to_owned();
        let SilenceOrder { alert, labels, reason, .. } = order;
        let silence = Silence { id, alert, labels, until, reason };
        let told = silence_json(&silence);
        let mut state = lock(&self.state);
        if state.board.silences().count() >= SILENCES_MAX {
            let text = format!("there are {SILENCES_MAX} silences already");
            return Err(
                Diagnostic::error(Code::LimitReached, text).hint("end some: `hob alerts unsilence ID`")
            );
        }
        state.board.silence(silence);
        drop(state);
        self.settle_durably()?;
        Ok(told)
    }

    /// Ends a silence; durable when this returns.
    ///
    /// # Errors
    /// When there is none of this id, or it cannot be recorded.
    pub(crate) fn unsilence(&self, id: &str) -> Result<Json, Diagnostic> {
        let ended = lock(&self.state).board.unsilence(id);
        let ended = ended.ok_or_else(|| {
            let text = format!("there is no silence `{id}`");
            Diagnostic::error(Code::UnknownName, text).hint("`hob alerts list` shows them")
        })?;
        self.settle_durably()?;
        Ok(silence_json(&ended))
    }

    fn settle_durably(&self) -> Result<(), Diagnostic> {
        self.settle(self.runs.now());
        self.ring();
        self.runs.journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))
    }

    /// What a rule finds just now; with `send`, its channels get a message that says it is a test.
    ///
    /// # Errors
    /// When there is no such alert.
    pub(crate) fn test(&self, name: &str, numbers: &Numbers, send: bool) -> Result<Json, Diagnostic> {
        let known: Vec<&str> = self.alerts.iter().map(|it| &*it.rule.name).collect();
        let at = known.iter().position(|it| *it == name).ok_or_else(|| unknown(name, &known))?;
        let mut told = match self.alerts[at].looks {
            Looks::Every(_) => self.ask_on_large_stack(at, numbers),
            Looks::On(_) => json!({ "state": "waits for events", "found": [] }),
        };
        told["name"] = name.into();
        if send {
            told["sent"] = self.send_test(&self.alerts[at].rule)?.into();
        }
        Ok(told)
    }

    /// Scripts need more stack than a thread of the API has.
    fn ask_on_large_stack(&self, at: usize, numbers: &Numbers) -> Json {
        let verdict = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(SCRIPT_STACK_BYTES);
            let asked = thread.spawn_scoped(scope, || self.rules().ask(at, None, numbers));
            asked.ok().and_then(|asked| asked.join().ok())
        });
        match verdict {
            Some(Verdict::Found(found)) => {
                json!({ "state": "judged", "found": found.iter().map(finding_json).collect::<Vec<_>>() })
            }
            Some(Verdict::Not(health)) => {
                json!({ "state": state_of(&health, [].iter()), "note": note(&health), "found": [] })
            }
            None => json!({ "state": "broken", "note": "there is no thread to be had", "found": [] }),
        }
    }

    fn send_test(&self, rule: &Rule) -> Result<Vec<String>, Diagnostic> {
        let now = self.runs.now();
        let message = |channel: &String| Message {
            channel: channel.clone(),
            group: rule.group.clone(),
            severity: None,
            title: format!("test: {}", rule.name),
            body: "This is a test of an alert; nothing is wrong.".to_owned(),
        };
        let messages: Vec<Message> = rule.notify.iter().map(message).collect();
        let writes: Vec<Write> = self.orders(&messages, now).map(|event| raise(event, now)).collect();
        let sent = if writes.is_empty() { vec![] } else { rule.notify.clone() };
        self.runs.journal().submit(Commit { writes });
        self.runs.journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))?;
        self.runs.events_changed();
        Ok(sent)
    }
}

fn unknown(name: &str, known: &[&str]) -> Diagnostic {
    let missing = Diagnostic::error(Code::UnknownName, format!("there is no alert `{name}`"));
    match names::nearest(name, known.iter().copied()) {
        Some(near) => missing.hint(format!("did you mean `{near}`?")),
        None => missing.hint("`hob alerts list` shows them"),
    }
}

fn note(health: &Health) -> Option<&str> {
    match health {
        Health::Blind(why) | Health::Broken(why) => Some(why),
        Health::Unasked | Health::Judged => None,
    }
}

/// The worst that can be said of a rule, in a word.
pub(crate) fn state_of<'a>(
    health: &Health,
    mut instances: impl Iterator<Item = &'a Instance> + Clone,
) -> &'static str {
    let any = |state: State| instances.clone().any(|it| it.state == state);
    if any(State::Firing) {
        return State::Firing.as_str();
    }
    match health {
        Health::Broken(_) => "broken",
        Health::Blind(_) => "blind",
        _ if instances.any(|it| it.state == State::Pending) => State::Pending.as_str(),
        Health::Unasked => "waiting",
        Health::Judged => "quiet",
    }
}

fn instance_json(board: &Board, rule: &Rule, labels: &Labels, instance: &Instance) -> Json {
    json!({
        "state": instance.state.as_str(),
        "since": instance.since.to_string(),
        "labels": with_labels(rule, labels),
        "summary": instance.summary,
        "value": instance.value,
        "told": instance.told.map(|it| it.to_string()),
        "muted": board.muted(rule, labels),
    })
}

fn finding_json(finding: &Finding) -> Json {
    json!({ "labels": finding.labels, "summary": finding.summary, "value": finding.value })
}

fn silence_json(silence: &Silence) -> Json {
    json!({
        "id": silence.id,
        "alert": silence.alert,
        "labels": silence.labels,
        "until": silence.until.to_string(),
        "reason": silence.reason,
    })
}
