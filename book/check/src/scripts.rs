//! Scripts of documents: run, rehearsed, or at least compiled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hob_daemon::declared::read_homelab;
use hob_daemon::settings::Settings;
use hob_engine::run_cx::Mode;
use hob_engine::{Base, Bundle, Evaluated, Loader, declarations};
use hob_model::{Diagnostic, ErrorKind, Level, OpError, RunEntry, Value};
use hob_testkit::Scripts;
use regex::Regex;

/// How far to go with a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It is compiled; what it declares is validated.
    Compile,
    /// It is run; what it declares is rehearsed.
    Run,
}

/// The files of a bundle.
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    /// Of one text.
    #[must_use]
    pub fn of(name: &str, text: &str) -> Self {
        Self(BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    /// Of all files in a directory and below.
    #[must_use]
    pub fn in_directory(directory: &Path, files: &[std::path::PathBuf]) -> Self {
        let below = files.iter().filter_map(|file| {
            let name = file.strip_prefix(directory).ok()?.to_string_lossy().into_owned();
            Some((name, crate::pages::read(file)))
        });
        Self(below.collect())
    }
}

impl Loader for Sources {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| "no such file".to_owned())
    }
}

/// Everything that the binary has, for scripts of documents.
#[must_use]
pub fn evaluator() -> Scripts {
    Scripts::new(hob_stdlib::registry(), hob_stdlib::live_ports())
}

/// Whether a script declares, as `homelab.rhai` does.
#[must_use]
pub fn declares(text: &str) -> bool {
    static DECLARATION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^(let \w+ = )?(homelab|host|tier|service|schedule|workflow|flow|channel|alert)\(")
            .unwrap()
    });
    DECLARATION.is_match(text)
}

/// Carries the script `root` as far as `depth` says.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check(evaluator: &Scripts, root: &str, sources: &Sources, depth: Depth) -> Result<(), String> {
    let registry = &evaluator.host().registry;
    let bundle = Bundle::collect(root, "/nowhere", "test", sources, registry);
    let bundle = Arc::new(bundle.map_err(|problems| listed(&problems))?);
    let cwd = tempfile::tempdir().unwrap();
    let text = sources.0.get(root).map_or("", String::as_str);
    if declares(text) {
        homelab(evaluator, &bundle, cwd.path(), depth)
    } else if depth == Depth::Run {
        let entry = RunEntry::Playbook(root.to_owned());
        let input = Value::Map(BTreeMap::new());
        judge(evaluator.evaluate(&bundle, entry, input, cwd.path(), Mode::Live))
    } else {
        Ok(())
    }
}

fn listed(problems: &[Diagnostic]) -> String {
    let line = |problem: &Diagnostic| {
        let place = problem.spans.first().map(|span| span.source.to_string()).unwrap_or_default();
        format!("{place}: {}: {} {:?}", problem.code, problem.message, problem.hint)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn homelab(evaluator: &Scripts, bundle: &Arc<Bundle>, cwd: &Path, depth: Depth) -> Result<(), String> {
    let base = Base { directory: cwd, home: Some(cwd) };
    let (_, mut warnings) =
        read_homelab(evaluator.host(), bundle, base, &Settings::default()).map_err(|found| listed(&found))?;
    // A note says what a declaration means, and is no mistake.
    warnings.retain(|it| it.level > Level::Note);
    if !warnings.is_empty() {
        return Err(listed(&warnings));
    }
    let declared = declarations(evaluator.host(), bundle).map_err(|problem| listed(&[problem]))?;
    let runs = |it: &&hob_engine::Declared| it.body().is_some() || it.options().get("graph").is_some();
    for it in declared.iter().filter(runs).filter(|_| depth == Depth::Run) {
        let entry = RunEntry::Declared { kind: it.kind.to_owned(), name: it.name.to_string() };
        let rehearsed = evaluator.evaluate(bundle, entry, input_of(it.kind), cwd, Mode::Dry);
        if lacks_the_house(&rehearsed) {
            continue;
        }
        judge(rehearsed).map_err(|error| format!("rehearsing {} `{}`: {error}", it.kind, it.name))?;
    }
    Ok(())
}

/// What a body is handed: a slot, or what a webhook without a body hands over; the fields of an event and of a file are
/// there as well.
fn input_of(kind: &str) -> Value {
    let empty = || Value::Map(BTreeMap::new());
    if kind == "schedule" {
        return Value::map([
            ("schedule", Value::from("test")),
            ("nominal", Value::from("2026-01-02T03:04:05Z")),
        ]);
    }
    Value::map([
        ("method", Value::from("POST")),
        ("path", Value::from("/test")),
        ("params", empty()),
        ("query", empty()),
        ("headers", empty()),
        ("body", empty()),
        ("name", Value::from("test.event")),
        ("payload", empty()),
        ("at", Value::from("2026-01-02T03:04:05Z")),
        ("origin", Value::from("test")),
        ("size", Value::Int(1)),
        ("modified", Value::from("2026-01-02T03:04:05Z")),
    ])
}

/// Whether a body ended because this machine has not the disks of the homelab's, or keeps none of its services: that is no
/// mistake of the script.
fn lacks_the_house(evaluated: &Evaluated) -> bool {
    let Evaluated::Failed { error, .. } = evaluated else { return false };
    let of = |primitive: &str| error.operation.starts_with(primitive);
    match error.kind {
        ErrorKind::NotFound => of("storage::") || of("services::"),
        ErrorKind::Unavailable => of("services::"),
        _ => false,
    }
}

/// A script ends well, or waits; one that gives `false` says that what the document claims does not hold.
fn judge(evaluated: Evaluated) -> Result<(), String> {
    let told = |error: &OpError| format!("{error} {:?}", error.hint);
    match evaluated {
        Evaluated::Succeeded(Value::Bool(false)) => Err("it gives false".to_owned()),
        Evaluated::Succeeded(_) | Evaluated::Suspended(hob_model::RunStatus::Waiting) => Ok(()),
        Evaluated::Carried { .. } => Ok(()),
        Evaluated::Failed { error, diagnostic, .. } => {
            Err(format!("{} {}", told(&error), listed(&[diagnostic])))
        }
        other => Err(format!("{other:?}")),
    }
}
