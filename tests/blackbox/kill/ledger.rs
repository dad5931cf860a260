//! What was decided and what had completed, compared with what the witnesses saw.

use std::collections::{BTreeMap, BTreeSet};

use hob_tests::counter::Counter;
use hob_tests::home::Home;
use serde_json::{Value as Json, json};

/// What `--result` gives in place of an answer.
const SETTLED: &str = "by hand";

/// How an effect in doubt is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Retry,
    Skip,
    Result,
}

impl Way {
    pub(super) const ALL: [Self; 3] = [Self::Retry, Self::Skip, Self::Result];

    /// As options of `hob runs resolve`.
    pub(super) fn options(self) -> Vec<String> {
        match self {
            Self::Retry => vec!["--retry".to_owned()],
            Self::Skip => vec!["--skip".to_owned()],
            Self::Result => vec!["--result".to_owned(), json!({ "settled": SETTLED }).to_string()],
        }
    }

    /// As the body of a request.
    pub(super) fn body(self, position: &str) -> Json {
        match self {
            Self::Retry => json!({ "position": position, "choice": "retry" }),
            Self::Skip => json!({ "position": position, "choice": "skip" }),
            Self::Result => {
                json!({ "position": position, "choice": "result", "result": { "settled": SETTLED } })
            }
        }
    }
}

/// An effect in doubt.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    pub(super) position: String,
    pub(super) name: String,
}

/// What is known about the effects of all runs, by their names.
pub(super) struct Ledger<'w> {
    home: &'w Home,
    /// The runs' working directory within `home`.
    dir: &'w str,
    server: &'w Counter,
    decided: BTreeMap<String, Vec<Way>>,
    /// How often the world had seen an effect when its success stood in the journal.
    completed: BTreeMap<String, usize>,
    doubts: BTreeSet<String>,
}

impl<'w> Ledger<'w> {
    pub(super) fn new(home: &'w Home, dir: &'w str, server: &'w Counter) -> Self {
        Self {
            home,
            dir,
            server,
            decided: BTreeMap::new(),
            completed: BTreeMap::new(),
            doubts: BTreeSet::new(),
        }
    }

    fn lines(&self, file: &str) -> Vec<String> {
        self.home.lines(&format!("{}/{file}", self.dir))
    }

    /// How often the world saw an effect.
    fn seen(&self, name: &str) -> usize {
        let lines = |file: &str| self.lines(file).iter().filter(|line| *line == name).count();
        match kind(name) {
            "append" | "after" => lines("keyed.log"),
            "run" => lines("spawned.log"),
            "get" => self.server.asked("GET", &format!("/{name}")).times,
            "put" => self.server.asked("PUT", &format!("/{name}")).times,
            "write" => usize::from(self.home.path(&format!("{}/written/{name}", self.dir)).exists()),
            _ => self.server.asked("POST", &format!("/{name}")).times,
        }
    }

    /// Whether the world saw anything of a run.
    pub(super) fn saw_anything_of(&self, tag: &str) -> bool {
        let begins = |line: &String| line.starts_with(&format!("{tag}-"));
        self.lines("keyed.log").iter().any(begins)
            || self.lines("spawned.log").iter().any(begins)
            || self.server.all().keys().any(|asked| asked.contains(&format!("/{tag}-")))
    }

    /// Decides about an effect in doubt: in the way that was taken least. It counts as decided whether or not the
    /// decision then arrives.
    pub(super) fn decide(&mut self, doubt: &Doubt) -> Way {
        let least = Way::ALL.into_iter().min_by_key(|way| self.count(*way)).expect("there are ways");
        self.decided.entry(doubt.name.clone()).or_default().push(least);
        least
    }

    fn count(&self, way: Way) -> usize {
        self.decided.values().flatten().filter(|it| **it == way).count()
    }

    /// Takes note of a run as it stands in the journal, and gives its effects in doubt.
    pub(super) fn look(&mut self, detail: &Json) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (name, entry) in named(detail) {
            let position = entry["position"].as_str().unwrap().to_owned();
            match entry["status"].as_str().unwrap() {
                "succeeded" if !self.completed.contains_key(&name) => {
                    let seen = self.seen(&name);
                    self.completed.insert(name, seen);
                }
                "in_doubt" => {
                    assert_eq!(entry["class"], "once", "only these are ever in doubt: {entry:#}");
                    self.doubts.insert(name.clone());
                    doubts.push(Doubt { position, name });
                }
                _ => {}
            }
        }
        doubts
    }

    /// Compares a run that has ended with what the world saw of it.
    pub(super) fn close(&mut self, detail: &Json) {
        assert_eq!(detail["status"], "succeeded", "{detail:#}");
        let rounds = usize::try_from(detail["input"]["rounds"].as_u64().unwrap()).unwrap();
        let all = named(detail);
        assert_eq!(all.len(), rounds * 10, "each effect is on record once: {detail:#}");
        self.look(detail);
        let mut answers = Vec::new();
        for (name, entry) in &all {
            self.check(name, entry);
            if entry["class"] == "once" {
                answers.push(answer(entry).to_owned());
            }
        }
        let texts = detail["output"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        let mut said: Vec<String> = texts.collect();
        // Branches stand in the journal in the order in which they began, and in the output by their index.
        said.sort();
        answers.sort();
        assert_eq!(said, answers, "the script saw what the journal says");
    }

    fn check(&self, name: &str, entry: &Json) {
        let seen = self.seen(name);
        let none = Vec::new();
        let ways = self.decided.get(name).unwrap_or(&none);
        let retries = ways.iter().filter(|way| **way == Way::Retry).count();
        let told = || format!("{name}: seen {seen} times, decided {ways:?}, {entry:#}");
        match kind(name) {
            "append" | "after" | "write" => assert_eq!(seen, 1, "{}", told()),
            "get" | "put" => assert!(seen >= 1, "{}", told()),
            "keyed" => {
                let asked = self.server.asked("POST", &format!("/{name}"));
                assert_eq!(asked.keys.len(), 1, "one key for all attempts: {asked:?}");
            }
            _ => {
                let decided = |way: Way| assert!(ways.contains(&way), "nobody decided so: {}", told());
                match answer(entry) {
                    "skipped" => decided(Way::Skip),
                    SETTLED => decided(Way::Result),
                    _ => assert!(seen >= 1, "done, but never seen: {}", told()),
                }
                assert!(seen <= 1 + retries, "more often than decided: {}", told());
            }
        }
        if ways.is_empty() {
            assert_eq!(self.completed.get(name), Some(&seen), "completed, then repeated: {}", told());
        }
    }

    /// What happened to all runs together.
    pub(super) fn sum_up(&self, kills: usize) {
        println!(
            "{kills} kills, {} effects, {} in doubt, settled by {:?}",
            self.completed.len(),
            self.doubts.len(),
            Way::ALL.map(|way| (way, self.count(way))),
        );
        assert!(Way::ALL.iter().all(|way| self.count(*way) > 0), "each way was to be tried");
        let keys: Vec<String> = self.server.all().into_values().flat_map(|asked| asked.keys).collect();
        let distinct: BTreeSet<&String> = keys.iter().collect();
        assert_eq!(keys.len(), distinct.len(), "no two effects share a key");
    }
}

/// What an effect of class `once` gave to the script.
fn answer(entry: &Json) -> &str {
    match entry["status"].as_str() {
        Some("skipped") => "skipped",
        _ => entry["result"]["settled"].as_str().unwrap_or("done"),
    }
}

/// The last part of `TAG-ROUND-KIND`.
fn kind(name: &str) -> &str {
    name.rsplit('-').next().unwrap_or(name)
}

/// The entries that have a name, with it.
fn named(detail: &Json) -> Vec<(String, &Json)> {
    let entries = detail["entries"].as_array().into_iter().flatten();
    let named = entries.filter(|entry| entry["primitive"] != "").filter_map(|entry| {
        let args = entry["args"].to_string();
        let mut words = args.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let word = words.find(|word| word.split('-').count() == 3 && word.starts_with('t'))?;
        Some((word.to_owned(), entry))
    });
    named.collect()
}
