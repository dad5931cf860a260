//! How a dataset or a service is backed up. What is done with that is the engine's `dataset.rhai`; what is wrong with it is
//! told here.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Code, Diagnostic, OnDoubt, Value};

use super::options::{Options, text, texts};
use super::{Raw, RunPolicy};

/// The functions that the engine gives a dataset with backups: what people do with them. A run of one has the kind
/// `dataset.act.` and its name.
pub const BACKUP_ACTS: [&str; 6] = ["check", "init", "list", "restore", "run", "verify"];

/// The option that holds them.
const ACT: &str = "act";

const OPTIONS: [&str; 18] = [
    "deadline",
    "exclude",
    "exclude_caches",
    "exclude_if_present",
    "exclude_larger_than",
    "host",
    "keep",
    "one_file_system",
    "password",
    "quiesce",
    "resume",
    "retry",
    "timeout",
    "to",
    "tolerant",
    "upkeep",
    "verify",
    "when",
];

/// What is for services alone: what is dumped or copied, and whether the service is stopped meanwhile.
const OF_SERVICES: [&str; 3] = ["dump", "paths", "stop"];

/// The options that may be functions.
const FUNCTIONS: [&str; 3] = ["quiesce", "resume", "dump"];

/// What functions and commands around a backup may be.
const AROUND: &str =
    "a function such as || process::run([\"sync\"]), or an array such as [\"fsfreeze\", \"-f\", \"/srv\"]";

/// A database that `dump` knows.
struct Dump {
    name: &'static str,
    /// What it takes beside `service`.
    takes: &'static [&'static str],
    /// The programs that dump, prove and restore it.
    programs: &'static [&'static str],
}

/// Those that there are.
const DUMPS: [Dump; 3] = [
    Dump {
        name: "postgres",
        takes: &["database", "host", "password", "port", "run_as", "user"],
        programs: &["pg_dump", "pg_dumpall", "pg_restore", "psql"],
    },
    Dump {
        name: "mariadb",
        takes: &["database", "host", "password", "port", "run_as", "user"],
        programs: &["mariadb", "mariadb-dump"],
    },
    Dump {
        name: "redis",
        takes: &["host", "password", "port", "run_as", "user"],
        programs: &["redis-cli", "sh"],
    },
];

/// What `keep` takes: how many, for how long, and with which tags.
const KEEP_COUNTS: [&str; 6] = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];

/// What a repository has that is written as a map.
const PLACE: [&str; 5] = ["repository", "password", "user", "secret", "region"];

/// How a dataset is backed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Its repositories, as they are written.
    pub repositories: Vec<String>,
    /// Whether something holds still meanwhile: somebody must end that, whatever becomes of the process.
    pub quiesces: bool,
    /// The programs that it starts by itself.
    pub programs: BTreeSet<String>,
    /// The secrets that it opens.
    pub secrets: BTreeSet<String>,
    /// What runs of its functions may do.
    pub policy: RunPolicy,
}

/// The declaration without what the engine added to it.
pub(super) fn without_functions(raw: &Raw) -> Raw {
    let mut raw = raw.clone();
    let is_whole = BACKUP_ACTS.iter().all(|act| raw.closures.contains(&format!("{ACT}.{act}")));
    if let Value::Map(options) = &mut raw.options
        && is_whole
    {
        options.remove(ACT);
        raw.closures.retain(|path| !path.starts_with("act."));
    }
    raw
}

/// Takes the functions of `backup` out of a declaration: which of them there are.
pub(super) fn take_functions(raw: &mut Raw) -> [bool; 3] {
    super::hooks::take_functions(raw, "backup", FUNCTIONS)
}

/// Reads the option `backup` of a dataset, or of a service.
pub(super) fn read(
    raw: Raw,
    of_service: bool,
    is_function: [bool; 3],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Backup> {
    let (programs, mut secrets) = (programs(&raw.options), BTreeSet::new());
    secrets_in(&raw.options, &mut secrets);
    let own = if of_service { &OF_SERVICES[..] } else { &[] };
    let known: Vec<&str> = OPTIONS.iter().chain(own).copied().collect();
    let mut options = Options::open(&raw, &known, diagnostics);
    let quiesces = around(&mut options, is_function);
    if of_service {
        service(&mut options, quiesces, is_function[2]);
    }
    let needs_password = options.peek("password").is_none();
    if let Some(password) = options.take("password") {
        secret(&mut options, "password", &password);
    }
    let repositories = repositories(&mut options, needs_password);
    keep(&mut options);
    for key in ["exclude", "exclude_if_present"] {
        let _ = options.read(key, "an array of texts", texts);
    }
    for key in ["exclude_caches", "one_file_system", "tolerant"] {
        let _ = options.bool(key);
    }
    let _ = options.text("host");
    let size = |value: &Value| hob_model::size::parse(value.as_str()?).ok();
    let _ = options.read("exclude_larger_than", "a size such as \"2G\"", size);
    let _ = options.duration("deadline");
    let _ = options.duration("timeout");
    let _ = options.read("retry", "a map such as #{ attempts: 3, backoff: \"5m\" }", map);
    for (key, known) in [
        ("upkeep", &["when", "read"][..]),
        ("verify", &["when", "path", "scratch", "command", "sqlite", "rows"]),
    ] {
        work(&mut options, key, known);
    }
    // All that such a run does may be done twice, but what people do around it: that must be done rather than waited with.
    let policy = RunPolicy { on_doubt: Some(OnDoubt::Retry), ..RunPolicy::default() };
    Some(Backup { repositories: repositories?, quiesces, programs, secrets, policy })
}

fn secrets_in(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Secret(secret) => found.extend(secret.references().map(|it| it.name.clone())),
        Value::Array(items) => items.iter().for_each(|item| secrets_in(item, found)),
        Value::Map(map) => map.values().for_each(|item| secrets_in(item, found)),
        _ => {}
    }
}

/// The programs that a backup starts by itself, as far as they are named: what functions do is seen where they are written.
fn programs(options: &Value) -> BTreeSet<String> {
    let at = |path: &[&str]| path.iter().try_fold(options, |value, key| value.get(key));
    let commands =
        [&["quiesce"][..], &["resume"], &["verify", "command"], &["dump", "command"], &["dump", "restore"]];
    let commands =
        commands.into_iter().filter_map(|path| super::service::command(at(path)?)?.into_iter().next());
    let dump = at(&["dump"]);
    let is_meant =
        |it: &&Dump| dump.is_some_and(|dump| dump.as_str() == Some(it.name) || dump.get(it.name).is_some());
    let dumps = DUMPS.iter().filter(is_meant).flat_map(|it| it.programs).map(|it| (*it).to_owned());
    let remotes = match options.get("to") {
        Some(Value::Array(all)) => all.iter().collect(),
        other => Vec::from_iter(other),
    };
    let name_of =
        |place: &Value| place.as_str().or_else(|| place.get("repository")?.as_str()).map(str::to_owned);
    let rclone = remotes.into_iter().filter_map(name_of).any(|it| it.starts_with("rclone:"));
    commands.chain(dumps).chain(rclone.then(|| "rclone".to_owned())).collect()
}

/// Reads what is for services alone.
fn service(options: &mut Options<'_>, quiesces: bool, dumps: bool) {
    let stops = options.bool("stop").unwrap_or_default();
    let dump = options.take("dump").filter(|_| !dumps);
    if let Some(dump) = &dump {
        read_dump(options, dump);
    }
    let dumps = dumps || dump.is_some();
    let _ = options.read("paths", "an array of texts", texts);
    if stops && (dumps || quiesces) {
        let other = if dumps { "dump" } else { "quiesce" };
        let hint = "a dump needs no stop: leave `stop` out; files of a database need one, and no dump";
        options.report_with(Code::BadDeclaration, format!("it has both `stop` and `{other}`"), hint);
    }
}

/// Reads what has whatever writes hold still: functions, or commands. Whether there is any.
fn around(options: &mut Options<'_>, is_function: [bool; 3]) -> bool {
    let [quiesces, resumes] =
        [("quiesce", is_function[0]), ("resume", is_function[1])].map(|(key, is_function)| {
            let value = options.take(key).filter(|_| !is_function);
            if let Some(value) = value.as_ref().filter(|value| super::service::command(value).is_none()) {
                options.wrong(key, AROUND, value);
            }
            is_function || value.is_some()
        });
    if resumes && !quiesces {
        options.report_with(
            Code::BadDeclaration,
            "it has `resume` without `quiesce`",
            "say what `resume` ends",
        );
    }
    quiesces
}

/// What is dumped: the name of a database, or a map with what it takes, or a command.
fn read_dump(options: &mut Options<'_>, dump: &Value) {
    let names = || DUMPS.iter().map(|it| it.name);
    let expected = "\"postgres\", \"mariadb\", \"redis\", #{ postgres: #{ database: \"…\" } }, or #{ command: […], name: \"…\" }";
    let Value::Map(given) = dump else {
        if !dump.as_str().is_some_and(|text| names().any(|name| name == text)) {
            options.wrong("dump", expected, dump);
        }
        return;
    };
    if let Some(command) = given.get("command") {
        let is_plain = given.keys().all(|key| ["command", "name", "restore", "user"].contains(&key.as_str()));
        let is_command = |value: &Value| texts(value).is_some_and(|words| !words.is_empty());
        if !is_plain || !is_command(command) || !given.get("restore").is_none_or(is_command) {
            let expected =
                "#{ command: [\"program\", …], name: \"…\", user: \"…\", restore: [\"program\", …] }";
            options.wrong("dump", expected, dump);
        }
        return;
    }
    for (kind, takes) in given {
        let (Some(dump_of), Value::Map(takes)) = (DUMPS.iter().find(|it| it.name == kind), takes) else {
            options.wrong("dump", expected, dump);
            return;
        };
        let known = dump_of.takes;
        if let Some(unknown) = takes.keys().find(|key| !known.contains(&key.as_str())) {
            let hint = format!("{kind} takes {}", known.join(", "));
            options.report_with(Code::UnknownOption, format!("`dump`: there is no option `{unknown}`"), hint);
        }
        if let Some(password) = takes.get("password") {
            secret(options, "password", password);
        }
    }
}

fn map(value: &Value) -> Option<BTreeMap<String, Value>> {
    match value {
        Value::Map(map) => Some(map.clone()),
        _ => None,
    }
}

/// A password is kept where the homelab is not.
fn secret(options: &mut Options<'_>, key: &str, value: &Value) {
    if !matches!(value, Value::Secret(_)) {
        let hint = format!("write `{key}: secret(\"restic\")`, and keep it among the secrets");
        options.report_with(Code::BadDeclaration, format!("`{key}` is no secret"), hint);
    }
}

fn repositories(options: &mut Options<'_>, needs_password: bool) -> Option<Vec<String>> {
    let Some(to) = options.take("to") else {
        let hint = "write `to: \"/mnt/nas/restic\"`, or an array of such places";
        options.report_with(Code::BadDeclaration, "it has no `to`", hint);
        return None;
    };
    let all = match to {
        Value::Array(all) => all,
        one => vec![one],
    };
    if all.is_empty() {
        options.report(Code::BadDeclaration, "`to` names no repository");
        return None;
    }
    let mut names = Vec::new();
    for place in all {
        let name = repository(options, place, needs_password)?;
        if names.contains(&name) {
            options.report(Code::BadDeclaration, format!("`to` names {name} twice"));
        }
        names.push(name);
    }
    Some(names)
}

/// One place: a text, or a map with what opens it.
fn repository(options: &mut Options<'_>, place: Value, needs_password: bool) -> Option<String> {
    let plain = |value: &Value| text(value).filter(|it| !it.is_empty());
    let (name, has_password) = match &place {
        Value::Map(map) => {
            if let Some(unknown) = map.keys().find(|key| !PLACE.contains(&key.as_str())) {
                let hint = format!("a repository has {}", PLACE.join(", "));
                options.report_with(
                    Code::UnknownOption,
                    format!("`to`: there is no option `{unknown}`"),
                    hint,
                );
            }
            for key in ["password", "secret"] {
                if let Some(value) = map.get(key) {
                    secret(options, key, value);
                }
            }
            (map.get("repository").and_then(plain), map.contains_key("password"))
        }
        other => (plain(other), false),
    };
    if name.is_none() {
        options.wrong(
            "to",
            "a path, `rest:URL`, `s3:URL`, `rclone:REMOTE:PATH`, or a map with `repository`",
            &place,
        );
    }
    if let Some(name) = name.as_ref().filter(|_| needs_password && !has_password) {
        let message = format!("the password of {name} is missing");
        options.report_with(Code::BadDeclaration, message, "write `password: secret(\"restic\")`");
    }
    name
}

fn keep(options: &mut Options<'_>) {
    let expected = "\"all\", or a map such as #{ daily: 7, weekly: 5, monthly: 12 }";
    let rules = options.read("keep", expected, |value| match value.as_str() {
        Some("all") => Some(BTreeMap::new()),
        Some(_) => None,
        None => map(value).filter(|rules| !rules.is_empty()),
    });
    for (key, value) in rules.into_iter().flatten() {
        let is_count = || matches!(value, Value::Int(1..=100_000));
        let (fits, expected) = match key.as_str() {
            "within" => (
                value.as_str().is_some_and(|it| hob_model::duration::parse(it).is_ok()),
                "a duration such as \"30d\"",
            ),
            "tags" => (texts(&value).is_some(), "an array of texts"),
            known if KEEP_COUNTS.contains(&known) => (is_count(), "a number from 1 on"),
            unknown => {
                let known = KEEP_COUNTS.into_iter().chain(["within", "tags"]);
                let hint = hob_model::names::nearest(unknown, known).map_or_else(
                    || format!("rules are {}, within and tags", KEEP_COUNTS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                options.report_with(
                    Code::UnknownOption,
                    format!("`keep`: there is no rule `{unknown}`"),
                    hint,
                );
                continue;
            }
        };
        if !fits {
            options.wrong(&format!("keep.{key}"), expected, &value);
        }
    }
}

/// What is done by itself beside backups: when, or never, or a map. What is no map is for the schedule to read.
fn work(options: &mut Options<'_>, key: &str, known: &[&str]) {
    let Some(Value::Map(given)) = options.take(key) else { return };
    if given.contains_key("trigger") {
        return;
    }
    if let Some(unknown) = given.keys().find(|it| !known.contains(&it.as_str())) {
        let hint = hob_model::names::nearest(unknown, known.iter().copied()).map_or_else(
            || format!("allowed are {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        options.report_with(Code::UnknownOption, format!("`{key}`: there is no option `{unknown}`"), hint);
    }
}
