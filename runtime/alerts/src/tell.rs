//! When people are told, and what: grouping, repeats, escalation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_model::Timestamp;

use crate::board::{Board, Instance, State, with_labels};
use crate::rule::{Labels, Rule, Severity};

/// How long the first news of a group waits for others, unless its rules say otherwise.
pub const GROUP_WAIT: Duration = Duration::from_secs(10);
/// The shortest time between two messages about one group.
pub const GROUP_INTERVAL: Duration = Duration::from_secs(60);
/// Things that one message tells one by one.
const LINES_MAX: usize = 30;

/// What people are told at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel that it is for.
    pub channel: String,
    /// The group that it is about.
    pub group: String,
    /// The worst of what fires in it; none when all of it is resolved.
    pub severity: Option<Severity>,
    /// Its first line.
    pub title: String,
    /// The rest of it: a line for each thing.
    pub body: String,
}

/// When the groups were and will be told.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Since when there is news of a group.
    waiting: BTreeMap<String, Timestamp>,
    /// When people were last told of a group.
    told: BTreeMap<String, Timestamp>,
    /// Keys of facts that nobody understands any more.
    pub(crate) lost: Vec<String>,
}

/// Why something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Fires,
    StillFires,
    Escalates,
    Resolved,
}

/// Something that is to be told.
struct Item {
    at: usize,
    labels: Labels,
    why: Why,
}

impl Board {
    /// What people are to be told now. What is in it counts as told: it reaches them if it is recorded together with what
    /// [`Board::take`] gives.
    pub fn tell(&mut self, now: Timestamp) -> Vec<Message> {
        let groups = self.untold(now);
        self.groups.waiting.retain(|group, _| groups.contains_key(group));
        let mut messages = Vec::new();
        for (group, items) in groups {
            let wait = items.iter().map(|item| self.standings[item.at].rule.group_wait).min();
            if !self.groups.is_due(&group, wait.unwrap_or(GROUP_WAIT), now) {
                continue;
            }
            messages.extend(self.messages(&group, &items));
            items.iter().for_each(|item| self.count_as_told(item, now));
        }
        messages
    }

    /// By group, what is to be told and not muted.
    fn untold(&mut self, now: Timestamp) -> BTreeMap<String, Vec<Item>> {
        let mut groups: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        let mut unheard = Vec::new();
        for (at, standing) in self.standings.iter().enumerate() {
            for (labels, instance) in &standing.instances {
                let Some(why) = why(&standing.rule, instance, now) else { continue };
                let item = Item { at, labels: labels.clone(), why };
                match self.muted(&standing.rule, labels) {
                    None => groups.entry(standing.rule.group.clone()).or_default().push(item),
                    // Who does not want to hear of it does not want to hear of its end.
                    Some(_) if why == Why::Resolved => unheard.push(item),
                    Some(_) => {}
                }
            }
        }
        unheard.iter().for_each(|item| self.count_as_told(item, now));
        groups
    }

    fn count_as_told(&mut self, item: &Item, now: Timestamp) {
        let instances = &mut self.standings[item.at].instances;
        match (item.why, instances.get_mut(&item.labels)) {
            (Why::Resolved, _) => drop(instances.remove(&item.labels)),
            (Why::Escalates, Some(instance)) => instance.escalated = true,
            (Why::Fires | Why::StillFires, Some(instance)) => instance.told = Some(now),
            (_, None) => {}
        }
        self.touch(item.at, &item.labels);
    }

    /// One message for each channel that wants to hear of any of it.
    fn messages(&self, group: &str, items: &[Item]) -> Vec<Message> {
        let mut channels: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
        for item in items {
            let wanted: BTreeSet<&str> = self.channels(item).collect();
            wanted.into_iter().for_each(|channel| channels.entry(channel).or_default().push(item));
        }
        channels.into_iter().map(|(channel, items)| self.message(group, channel, &items)).collect()
    }

    fn channels(&self, item: &Item) -> impl Iterator<Item = &str> {
        let standing = &self.standings[item.at];
        let escalated = standing.instances.get(&item.labels).is_some_and(|it| it.escalated);
        let first = Some(&standing.rule.notify).filter(|_| item.why != Why::Escalates);
        let others = standing.rule.escalate.as_ref().map(|it| &it.notify);
        let others = others.filter(|_| item.why == Why::Escalates || escalated);
        first.into_iter().chain(others).flatten().map(String::as_str)
    }

    fn message(&self, group: &str, channel: &str, items: &[&Item]) -> Message {
        let fires = |item: &&&Item| item.why != Why::Resolved;
        let severity = items.iter().filter(fires).map(|item| self.standings[item.at].rule.severity).max();
        let firing = items.iter().filter(fires).count();
        let resolved = items.len() - firing;
        let title = match items {
            [one] => self.line(one),
            _ if resolved == 0 => format!("{group}: {firing} firing"),
            _ if firing == 0 => format!("{group}: {resolved} resolved"),
            _ => format!("{group}: {firing} firing, {resolved} resolved"),
        };
        let mut items = items.to_vec();
        items.sort_by_key(|item| {
            (item.why == Why::Resolved, std::cmp::Reverse(self.standings[item.at].rule.severity))
        });
        let lines = items.iter().take(LINES_MAX).map(|item| self.details(item));
        let mut body = lines.collect::<Vec<_>>().join("\n");
        if items.len() > LINES_MAX {
            body = format!("{body}\n… and {} more: hob alerts list", items.len() - LINES_MAX);
        }
        Message { channel: channel.to_owned(), group: group.to_owned(), severity, title, body }
    }

    /// What happened to one thing, in one line.
    fn line(&self, item: &Item) -> String {
        let standing = &self.standings[item.at];
        let summary = standing.instances.get(&item.labels).map_or("", |it| &it.summary);
        let name = &standing.rule.name;
        let what = if summary.is_empty() { name.clone() } else { format!("{name}: {summary}") };
        match item.why {
            Why::Resolved => format!("resolved: {what}"),
            Why::StillFires | Why::Escalates => format!("still {}: {what}", standing.rule.severity.as_str()),
            Why::Fires => format!("{}: {what}", standing.rule.severity.as_str()),
        }
    }

    /// The same with its labels, its number and its time.
    fn details(&self, item: &Item) -> String {
        let standing = &self.standings[item.at];
        let mut text = self.line(item);
        let labels = with_labels(&standing.rule, &item.labels);
        if !labels.is_empty() {
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            text = format!("{text} ({})", labels.join(", "));
        }
        let Some(instance) = standing.instances.get(&item.labels) else { return text };
        if let Some(value) = instance.value {
            text = format!("{text} = {value}");
        }
        format!("{text}, since {:.0}", instance.since)
    }
}

impl Groups {
    /// Whether the news of a group are told now; from then on it rests. News that come together are told together.
    fn is_due(&mut self, group: &str, wait: Duration, now: Timestamp) -> bool {
        let since = *self.waiting.entry(group.to_owned()).or_insert(now);
        let rested = self.told.get(group).is_none_or(|told| elapsed(*told, now) >= GROUP_INTERVAL);
        let due = rested && elapsed(since, now) >= wait;
        if due {
            self.waiting.remove(group);
            self.told.insert(group.to_owned(), now);
        }
        due
    }
}

/// Why something is to be told now, if it is.
fn why(rule: &Rule, instance: &Instance, now: Timestamp) -> Option<Why> {
    match (instance.state, instance.told) {
        (State::Pending, _) => None,
        (State::Resolved, _) => Some(Why::Resolved),
        (State::Firing, None) => Some(Why::Fires),
        (State::Firing, Some(told)) => {
            let lasts = |after: Duration| elapsed(instance.since, now) >= after;
            if rule.escalate.as_ref().is_some_and(|it| !instance.escalated && lasts(it.after)) {
                return Some(Why::Escalates);
            }
            rule.repeat.is_some_and(|repeat| elapsed(told, now) >= repeat).then_some(Why::StillFires)
        }
    }
}

/// How long ago it was, or how far ahead after the clock was set back: nothing waits for ever then.
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).unsigned_abs()
}
