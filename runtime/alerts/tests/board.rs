//! The life of alerts, against a clock of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_alerts::board::INSTANCES_MAX;
use hob_alerts::{
    Board, Escalation, Finding, GROUP_INTERVAL, GROUP_WAIT, Health, Inhibition, Labels, Message, News, Rule,
    Severity, Silence, State,
};
use hob_model::{Timestamp, Value};
use proptest::prelude::*;

/// Looks at a board once a second, and remembers what is recorded.
struct Watch {
    board: Board,
    rules: Vec<Rule>,
    now: Timestamp,
    records: BTreeMap<String, Value>,
    news: Vec<News>,
}

impl Watch {
    fn new(rules: Vec<Rule>) -> Self {
        let (now, records) = (Timestamp::UNIX_EPOCH, BTreeMap::new());
        Self { board: Board::new(rules.clone()), rules, now, records, news: vec![] }
    }

    /// A second passes, in which each rule finds what is given for it.
    fn second(&mut self, found: &[Vec<Finding>]) -> Vec<Message> {
        self.now += Duration::from_secs(1);
        self.board.pass(self.now);
        for (at, found) in found.iter().enumerate() {
            self.board.judged(at, found.clone(), self.now);
        }
        let told = self.board.tell(self.now);
        let (records, news) = self.board.take();
        for (key, value) in records {
            match value {
                Some(value) => drop(self.records.insert(key, value)),
                None => drop(self.records.remove(&key)),
            }
        }
        self.news.extend(news);
        told
    }

    /// So many seconds pass; what was told in them, with the second of each.
    fn seconds(&mut self, count: u64, found: &[Vec<Finding>]) -> Vec<(i64, Message)> {
        let mut told = Vec::new();
        for _ in 0..count {
            told.extend(self.second(found).into_iter().map(|it| (self.now.as_second(), it)));
        }
        told
    }

    /// The process ends and another takes up what it recorded.
    fn restart(&mut self) {
        self.board = Board::new(self.rules.clone());
        self.records.iter().for_each(|(key, value)| self.board.recall(key, value));
    }

    fn states(&self) -> Vec<(String, State)> {
        let all = self.board.all().flat_map(|(rule, _, instances)| {
            instances.values().map(|instance| (rule.name.clone(), instance.state)).collect::<Vec<_>>()
        });
        all.collect()
    }
}

fn rule(name: &str) -> Rule {
    let (group, notify) = ("all".into(), vec!["ops".into()]);
    Rule { name: name.into(), group, group_wait: GROUP_WAIT, notify, ..Rule::default() }
}

fn one() -> Vec<Finding> {
    vec![Finding::default()]
}

fn disk(path: &str) -> Finding {
    let labels = Labels::from([("path".into(), path.into())]);
    Finding { labels, summary: format!("{path} is full"), value: Some(0.9) }
}

fn titles(told: &[(i64, Message)]) -> Vec<(i64, &str)> {
    told.iter().map(|(at, message)| (*at, message.title.as_str())).collect()
}

const WAIT: i64 = GROUP_WAIT.as_secs() as i64;
const INTERVAL: i64 = GROUP_INTERVAL.as_secs() as i64;

#[test]
fn what_lasts_fires_and_is_told_once_until_it_is_resolved() {
    let mut watch = Watch::new(vec![Rule { lasting: Duration::from_secs(30), ..rule("load") }]);
    assert_eq!(watch.seconds(20, &[one()]), []);
    assert_eq!(watch.states(), [("load".to_owned(), State::Pending)]);
    // It was gone for a moment: it begins anew.
    assert_eq!(watch.seconds(1, &[vec![]]), []);
    assert_eq!((watch.states(), watch.records.len()), (vec![], 0));
    let told = watch.seconds(200, &[one()]);
    assert_eq!(titles(&told), [(22 + 30 + WAIT, "warning: load")]);
    let told = watch.seconds(200, &[vec![]]);
    assert_eq!(titles(&told), [(222 + WAIT, "resolved: load")]);
    assert_eq!((watch.states(), watch.records.len()), (vec![], 0), "nothing is left of it");
    let news: Vec<bool> = watch.news.iter().map(|it| matches!(it, News::Firing(_))).collect();
    assert_eq!(news, [true, false]);
}

#[test]
fn what_nobody_heard_of_is_not_told_as_resolved() {
    let mut watch = Watch::new(vec![rule("blip")]);
    let _ = watch.seconds(GROUP_WAIT.as_secs() - 1, &[one()]);
    assert_eq!(watch.seconds(100, &[vec![]]), []);
    assert!(matches!(watch.news[..], [News::Firing(_), News::Resolved(_)]), "events tell it all the same");
}

#[test]
fn what_flaps_is_told_once() {
    let mut watch = Watch::new(vec![rule("flap")]);
    let mut told = watch.seconds(30, &[one()]);
    for _ in 0..200 {
        told.extend(watch.seconds(2, &[vec![]]));
        told.extend(watch.seconds(2, &[one()]));
    }
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn what_comes_together_is_told_together() {
    let mut watch = Watch::new(vec![rule("disk"), Rule { severity: Severity::Critical, ..rule("raid") }]);
    let mut told = watch.seconds(3, &[vec![disk("/a")], vec![]]);
    told.extend(watch.seconds(60, &[vec![disk("/a"), disk("/b")], one()]));
    let [(at, message)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (*at, message.title.as_str(), message.severity),
        (1 + WAIT, "all: 3 firing", Some(Severity::Critical))
    );
    let lines: Vec<&str> = message.body.lines().map(|line| line.split(" since ").next().unwrap()).collect();
    let expected = [
        "critical: raid,",
        "warning: disk: /a is full (path=/a) = 0.9,",
        "warning: disk: /b is full (path=/b) = 0.9,",
    ];
    assert_eq!(lines, expected);
    let told = watch.seconds(11, &[vec![disk("/a"), disk("/c")], one()]);
    assert_eq!(titles(&told), [(64 + WAIT, "all: 1 firing, 1 resolved")]);
    // Then the group rests.
    let told = watch.seconds(100, &[vec![disk("/a"), disk("/d")], one()]);
    assert_eq!(titles(&told), [(64 + WAIT + INTERVAL, "all: 1 firing, 1 resolved")]);
}

#[test]
fn groups_and_channels_are_told_apart() {
    let gpu =
        Rule { group: "gpu".into(), notify: vec!["ops".into(), "pager".into(), "ops".into()], ..rule("gpu") };
    let mut watch = Watch::new(vec![rule("disk"), gpu]);
    let told = watch.seconds(30, &[one(), one()]);
    let channels: Vec<_> = told.iter().map(|(_, it)| (it.group.as_str(), it.channel.as_str())).collect();
    assert_eq!(channels, [("all", "ops"), ("gpu", "ops"), ("gpu", "pager")]);
}

#[test]
fn what_goes_on_is_repeated_and_escalated() {
    let escalate = Escalation { after: Duration::from_secs(200), notify: vec!["pager".into()] };
    let rule = Rule { repeat: Some(Duration::from_secs(300)), escalate: Some(escalate), ..rule("raid") };
    let mut watch = Watch::new(vec![rule]);
    let mut told = watch.seconds(250, &[one()]);
    watch.restart();
    told.extend(watch.seconds(450, &[one()]));
    let told: Vec<_> =
        told.iter().map(|(at, it)| (*at, it.channel.as_str(), it.title.starts_with("still"))).collect();
    let first = 1 + WAIT;
    let expected = [
        (first, "ops", false),
        (201 + WAIT, "pager", true),
        (first + 300 + WAIT, "ops", true),
        (first + 300 + WAIT, "pager", true),
        (first + 600 + 2 * WAIT, "ops", true),
        (first + 600 + 2 * WAIT, "pager", true),
    ];
    assert_eq!(told, expected);
    let told = watch.seconds(100, &[vec![]]);
    assert_eq!(told.len(), 2, "who heard of it hears of its end: {told:?}");
}

#[test]
fn what_is_silenced_is_not_told_until_the_silence_ends() {
    let mut watch = Watch::new(vec![rule("disk-full")]);
    let silence = |id: &str, path: &str, until: i64| Silence {
        id: id.into(),
        alert: "disk-*".into(),
        labels: Labels::from([("path".into(), path.into())]),
        until: Timestamp::from_second(until).unwrap(),
        reason: "new disk on Monday".into(),
    };
    watch.board.silence(silence("s1", "/a*", 300));
    let told = watch.seconds(100, &[vec![disk("/a1"), disk("/b")]]);
    assert_eq!(titles(&told), [(1 + WAIT, "warning: disk-full: /b is full")]);
    watch.restart();
    assert_eq!(watch.board.silences().count(), 1, "it outlives the process");
    let told = watch.seconds(250, &[vec![disk("/a1"), disk("/b")]]);
    assert_eq!(titles(&told), [(300 + WAIT, "warning: disk-full: /a1 is full")]);
    assert_eq!(watch.board.silences().count(), 0);
    // What is silenced when it ends is not told to end.
    watch.board.silence(silence("s2", "*", 10_000));
    assert_eq!(watch.seconds(200, &[vec![]]), []);
    assert!(watch.board.unsilence("s2").is_some() && watch.board.unsilence("s2").is_none());
    assert_eq!(watch.seconds(200, &[vec![]]), []);
    assert_eq!(watch.records.len(), 0);
}

#[test]
fn what_follows_from_another_is_not_told() {
    let inhibit = Inhibition { alerts: vec!["service-*".into()], equal: vec!["host".into()] };
    let down = Rule { inhibit, ..rule("host-down") };
    let mut watch = Watch::new(vec![down, rule("service-down")]);
    let on = |host: &str| {
        vec![Finding { labels: Labels::from([("host".into(), host.into())]), ..Finding::default() }]
    };
    let told = watch.seconds(30, &[on("a"), [on("a"), on("b")].concat()]);
    let [(_, message)] = &told[..] else { panic!("{told:?}") };
    let lines: Vec<&str> = message.body.lines().map(|line| line.split(')').next().unwrap()).collect();
    assert_eq!(lines, ["warning: host-down (host=a", "warning: service-down (host=b"]);
    let muted: Vec<bool> = watch.news.iter().map(|it| matches!(it, News::Firing(it) if it.muted)).collect();
    assert_eq!(muted, [false, true, false]);
    let told = watch.seconds(200, &[vec![], [on("a"), on("b")].concat()]);
    assert!(told.iter().any(|(_, it)| it.body.contains("warning: service-down (host=a")), "{told:?}");
}

#[test]
fn what_is_only_pending_is_told_instead_of_nothing() {
    let (inhibit, lasting) =
        (Inhibition { alerts: vec!["b".into()], equal: vec![] }, Duration::from_secs(100));
    let mut watch = Watch::new(vec![Rule { inhibit, lasting, ..rule("a") }, rule("b")]);
    let told = watch.seconds(50, &[one(), one()]);
    assert_eq!(titles(&told), [(1 + WAIT, "warning: b")]);
}

#[test]
fn what_is_heard_is_resolved_by_another_event_or_by_time() {
    let rule = Rule { resolve_after: Some(Duration::from_secs(100)), ..rule("run-failed") };
    let mut watch = Watch::new(vec![rule]);
    for name in ["/a", "/b"] {
        watch.board.heard(0, disk(name), watch.now);
    }
    assert_eq!(watch.seconds(30, &[]).len(), 1);
    watch.restart();
    watch.board.resolved(0, &disk("/a").labels, watch.now);
    let told = watch.seconds(30, &[]);
    assert_eq!(titles(&told), [(31 + WAIT, "resolved: run-failed: /a is full")]);
    let told = watch.seconds(100, &[]);
    assert_eq!(titles(&told), [(100 + WAIT, "resolved: run-failed: /b is full")]);
}

#[test]
fn a_rule_that_cannot_be_judged_leaves_everything_as_it_is() {
    let mut watch = Watch::new(vec![rule("disk")]);
    let _ = watch.seconds(30, &[one()]);
    for _ in 0..3 {
        watch.board.not_judged(0, Health::Broken("it throws".into()));
        assert_eq!(watch.seconds(1, &[]), []);
    }
    watch.board.not_judged(0, Health::Blind("the engine is down".into()));
    assert_eq!(watch.seconds(100, &[]), []);
    assert_eq!(watch.states(), [("disk".to_owned(), State::Firing)]);
    let broken = watch.news.iter().filter(|it| matches!(it, News::Broken(name, _) if name == "disk")).count();
    assert_eq!(broken, 1, "it is told once");
}

#[test]
fn what_no_rule_declares_any_more_is_forgotten() {
    let mut watch = Watch::new(vec![rule("old")]);
    let _ = watch.seconds(30, &[one()]);
    watch.rules = vec![rule("new")];
    watch.records.insert("alerts/found/x".into(), Value::Unit);
    watch.restart();
    assert_eq!(watch.seconds(30, &[vec![]]), []);
    assert_eq!(watch.records.len(), 0, "{:?}", watch.records);
}

#[test]
fn a_rule_keeps_only_so_many_things() {
    let mut watch = Watch::new(vec![rule("disk")]);
    let many: Vec<Finding> = (0..INSTANCES_MAX + 50).map(|n| disk(&format!("/{n}"))).collect();
    let told = watch.seconds(30, &[many]);
    assert_eq!(watch.states().len(), INSTANCES_MAX);
    assert_eq!((told.len(), told[0].1.body.lines().count()), (1, 31));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, with or without a restart after each second: whoever was told that something fires is told of its
    /// end, nobody hears of an end alone, and what goes on is told.
    #[test]
    fn tellings_are_balanced(
        seconds in prop::collection::vec((any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)), 1..400),
        lasting in 0_u64..20,
    ) {
        let mut watch = Watch::new(vec![Rule { lasting: Duration::from_secs(lasting), ..rule("a") }, rule("b")]);
        let mut told = Vec::new();
        for (a, b, restart) in &seconds {
            let found = |it: bool| if it { one() } else { vec![] };
            // Each stays for a while.
            told.extend(watch.seconds(7, &[found(*a), found(*b)]));
            if *restart {
                watch.restart();
            }
        }
        let (a, b, _) = seconds[seconds.len() - 1];
        let end = [if a { one() } else { vec![] }, if b { one() } else { vec![] }];
        told.extend(watch.seconds(GROUP_INTERVAL.as_secs() + GROUP_WAIT.as_secs() + lasting + 1, &end));
        for (name, goes_on) in [("a", a), ("b", b)] {
            let lines = told.iter().flat_map(|(_, it)| it.body.lines());
            let fires: Vec<bool> = lines
                .filter(|line| line.split(" since ").next().is_some_and(|it| it.ends_with(&format!(": {name},"))))
                .map(|line| !line.starts_with("resolved"))
                .collect();
            let balanced = fires.iter().enumerate().all(|(at, fires)| *fires == (at % 2 == 0));
            prop_assert!(balanced && fires.len() % 2 == usize::from(goes_on), "{name}: {fires:?}");
        }
    }
}
