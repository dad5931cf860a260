//! Everything that is pending or firing.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Timestamp, Value};

use crate::record;
use crate::rule::{Finding, Labels, Rule, Severity};
use crate::silence::Silence;
use crate::tell::{Groups, elapsed};

/// Things of one rule that are kept; what is found beyond is left out.
pub const INSTANCES_MAX: usize = 200;

/// How far something that was found has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was found, and has not lasted long enough to be told.
    Pending,
    /// It is to be told.
    Firing,
    /// It is no longer found, and people who heard of it are to be told so.
    Resolved,
}

impl State {
    /// As people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// How far it has come.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// What it is, for people.
    pub summary: String,
    /// The number that it is about.
    pub value: Option<f64>,
    /// When people were last told that it fires.
    pub told: Option<Timestamp>,
    /// Whether the others were told, too.
    pub escalated: bool,
    /// When it counts as resolved, if it was heard and is not looked for.
    pub resolves: Option<Timestamp>,
}

impl Instance {
    fn pending(since: Timestamp) -> Self {
        let (summary, value, told, resolves) = (String::new(), None, None, None);
        Self { state: State::Pending, since, summary, value, told, escalated: false, resolves }
    }
}

/// Whether a rule can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not asked yet.
    #[default]
    Unasked,
    /// It was judged.
    Judged,
    /// What it looks at cannot be seen now: what was found stays as it was.
    Blind(String),
    /// Its function throws, does not end, or gives what says nothing: what was found stays as it was.
    Broken(String),
}

/// What became of a rule, or of something that it found.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something fires.
    Firing(Changed),
    /// Something is no longer found.
    Resolved(Changed),
    /// The rule of this name cannot be judged, and why.
    Broken(String, String),
}

/// What fires or no longer does.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The name of the rule.
    pub alert: String,
    /// How bad it is.
    pub severity: Severity,
    /// Its group.
    pub group: String,
    /// What tells it from others, with the labels of the rule.
    pub labels: Labels,
    /// What it is.
    pub summary: String,
    /// The number that it is about.
    pub value: Option<f64>,
    /// Since when it fires, or has not any more.
    pub since: Timestamp,
    /// Whether somebody silenced it, or what it follows from is told instead.
    pub muted: bool,
}

/// A rule and what it found.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) rule: Rule,
    pub(crate) health: Health,
    pub(crate) instances: BTreeMap<Labels, Instance>,
}

/// All rules and what they found.
#[derive(Debug, Default)]
pub struct Board {
    pub(crate) standings: Vec<Standing>,
    pub(crate) groups: Groups,
    silences: BTreeMap<String, Silence>,
    /// What is to be recorded anew, by rule.
    changed: BTreeSet<(usize, Labels)>,
    changed_silences: BTreeSet<String>,
    news: Vec<News>,
}

impl Board {
    /// Nothing was found yet by these rules, whose names are all different.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let standing = |rule| Standing { rule, health: Health::default(), instances: BTreeMap::new() };
        Self { standings: rules.into_iter().map(standing).collect(), ..Self::default() }
    }

    /// Takes up what an earlier process recorded under `key`. What no rule declares any more is given up; so is what does
    /// not say what it should.
    pub fn recall(&mut self, key: &str, value: &Value) {
        match record::read(key, value) {
            Some(record::Recorded::Silence(silence)) => {
                drop(self.silences.insert(silence.id.clone(), silence))
            }
            Some(record::Recorded::Instance { alert, labels, instance }) => match self.find(&alert) {
                Some(at) => drop(self.standings[at].instances.insert(labels, instance)),
                None => self.groups.lost.push(key.to_owned()),
            },
            None => self.groups.lost.push(key.to_owned()),
        }
    }

    /// The place of the rule of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.standings.iter().position(|standing| standing.rule.name == name)
    }

    /// The rules, in their order, with whether they can be judged and what they found.
    pub fn all(&self) -> impl Iterator<Item = (&Rule, &Health, &BTreeMap<Labels, Instance>)> {
        self.standings.iter().map(|it| (&it.rule, &it.health, &it.instances))
    }

    /// The rule `at` was judged, and found just this.
    pub fn judged(&mut self, at: usize, found: Vec<Finding>, now: Timestamp) {
        self.standings[at].health = Health::Judged;
        let mut seen = BTreeSet::new();
        for finding in found {
            if seen.insert(finding.labels.clone()) {
                self.found(at, finding, now);
            }
        }
        let gone = |(labels, instance): (&Labels, &Instance)| {
            (instance.state != State::Resolved && !seen.contains(labels)).then(|| labels.clone())
        };
        let gone: Vec<Labels> = self.standings[at].instances.iter().filter_map(gone).collect();
        gone.iter().for_each(|labels| self.gone(at, labels, now));
    }

    /// The rule `at` heard of something: it fires until it is resolved or its time is over.
    pub fn heard(&mut self, at: usize, finding: Finding, now: Timestamp) {
        self.standings[at].health = Health::Judged;
        let labels = finding.labels.clone();
        self.found(at, finding, now);
        let Standing { rule, instances, .. } = &mut self.standings[at];
        if let (Some(instance), Some(after)) = (instances.get_mut(&labels), rule.resolve_after) {
            instance.resolves = now.checked_add(after).ok();
            self.changed.insert((at, labels));
        }
    }

    /// The rule `at` heard that what has these labels is well again.
    pub fn resolved(&mut self, at: usize, labels: &Labels, now: Timestamp) {
        if self.standings[at].instances.get(labels).is_some_and(|it| it.state != State::Resolved) {
            self.gone(at, labels, now);
        }
    }

    /// The rule `at` cannot be judged.
    pub fn not_judged(&mut self, at: usize, health: Health) {
        let standing = &mut self.standings[at];
        if let (Health::Broken(why), false) = (&health, matches!(standing.health, Health::Broken(_))) {
            self.news.push(News::Broken(standing.rule.name.clone(), why.clone()));
        }
        standing.health = health;
    }

    /// Has time pass: what was heard long ago counts as resolved, and silences end.
    pub fn pass(&mut self, now: Timestamp) {
        let over = |(at, standing): (usize, &Standing)| -> Vec<(usize, Labels)> {
            let over = standing.instances.iter().filter(|(_, it)| {
                it.state != State::Resolved && it.resolves.is_some_and(|resolves| resolves <= now)
            });
            over.map(|(labels, _)| (at, labels.clone())).collect()
        };
        let over: Vec<(usize, Labels)> = self.standings.iter().enumerate().flat_map(over).collect();
        over.iter().for_each(|(at, labels)| self.gone(*at, labels, now));
        let ended = self.silences.values().filter(|it| it.until <= now).map(|it| it.id.clone());
        ended.collect::<Vec<_>>().iter().for_each(|id| drop(self.unsilence(id)));
    }

    /// Does not tell what the silence covers until it ends.
    pub fn silence(&mut self, silence: Silence) {
        self.changed_silences.insert(silence.id.clone());
        self.silences.insert(silence.id.clone(), silence);
    }

    /// Ends a silence; what it was, if there was one.
    pub fn unsilence(&mut self, id: &str) -> Option<Silence> {
        let silence = self.silences.remove(id)?;
        self.changed_silences.insert(id.to_owned());
        Some(silence)
    }

    /// What is silenced now.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// Why nobody is told of what the rule found with these labels, if so.
    #[must_use]
    pub fn muted(&self, rule: &Rule, labels: &Labels) -> Option<String> {
        let all = with_labels(rule, labels);
        if let Some(silence) = self.silences.values().find(|it| it.covers(&rule.name, &all)) {
            return Some(format!("silenced until {}", silence.until));
        }
        let by = self.standings.iter().find(|it| it.rule.name != rule.name && it.inhibits(rule, &all))?;
        Some(format!("`{}` is told instead", by.rule.name))
    }

    /// What happened since it was last taken: what is to be recorded under which key, nothing for what is to be
    /// forgotten, and what is to be raised.
    pub fn take(&mut self) -> (Vec<(String, Option<Value>)>, Vec<News>) {
        let mut records: Vec<(String, Option<Value>)> = Vec::new();
        records.extend(std::mem::take(&mut self.groups.lost).into_iter().map(|key| (key, None)));
        for id in std::mem::take(&mut self.changed_silences) {
            let key = record::silence_key(&id);
            records.push((key, self.silences.get(&id).map(record::silence)));
        }
        for (at, labels) in std::mem::take(&mut self.changed) {
            let Standing { rule, instances, .. } = &self.standings[at];
            let value = instances.get(&labels).map(|it| record::instance(&rule.name, &labels, it));
            records.push((record::instance_key(&rule.name, &labels), value));
        }
        (records, std::mem::take(&mut self.news))
    }

    /// Notes that something is to be recorded anew.
    pub(crate) fn touch(&mut self, at: usize, labels: &Labels) {
        self.changed.insert((at, labels.clone()));
    }

    fn found(&mut self, at: usize, finding: Finding, now: Timestamp) {
        let Finding { labels, summary, value } = finding;
        let Standing { rule, instances, .. } = &mut self.standings[at];
        if !instances.contains_key(&labels) && instances.len() >= INSTANCES_MAX {
            return;
        }
        let mut fresh = false;
        let begin = || {
            fresh = true;
            Instance::pending(now)
        };
        let known = instances.entry(labels.clone()).or_insert_with(begin);
        known.summary = if summary.is_empty() { rule.summary.clone() } else { summary };
        known.value = value;
        let fires = match known.state {
            State::Pending => elapsed(known.since, now) >= rule.lasting,
            // People were not told yet that it was gone: for them it goes on.
            State::Resolved => true,
            State::Firing => false,
        };
        if fires {
            (known.state, known.since) = (State::Firing, now);
            self.raise(at, &labels, News::Firing);
        }
        if fires || fresh {
            self.touch(at, &labels);
        }
    }

    fn gone(&mut self, at: usize, labels: &Labels, now: Timestamp) {
        let Some(instance) = self.standings[at].instances.get_mut(labels) else { return };
        let fired = instance.state == State::Firing;
        (instance.state, instance.since, instance.resolves) = (State::Resolved, now, None);
        let told = instance.told.is_some();
        if fired {
            self.raise(at, labels, News::Resolved);
        }
        if !told {
            self.standings[at].instances.remove(labels);
        }
        self.touch(at, labels);
    }

    fn raise(&mut self, at: usize, labels: &Labels, news: fn(Changed) -> News) {
        let Standing { rule, instances, .. } = &self.standings[at];
        let Some(instance) = instances.get(labels) else { return };
        let changed = Changed {
            alert: rule.name.clone(),
            severity: rule.severity,
            group: rule.group.clone(),
            labels: with_labels(rule, labels),
            summary: instance.summary.clone(),
            value: instance.value,
            since: instance.since,
            muted: self.muted(rule, labels).is_some(),
        };
        self.news.push(news(changed));
    }
}

impl Standing {
    /// Whether it fires for something from which what the other rule found follows.
    fn inhibits(&self, other: &Rule, labels: &Labels) -> bool {
        let named = |pattern: &String| hob_model::pattern::wildcard(pattern, &other.name);
        self.rule.inhibit.alerts.iter().any(named)
            && self.instances.iter().any(|(mine, instance)| {
                let mine = with_labels(&self.rule, mine);
                instance.state == State::Firing
                    && self.rule.inhibit.equal.iter().all(|key| mine.get(key) == labels.get(key))
            })
    }
}

/// The labels of something found, with those of its rule.
#[must_use]
pub fn with_labels(rule: &Rule, found: &Labels) -> Labels {
    let mut all = rule.labels.clone();
    all.extend(found.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}
