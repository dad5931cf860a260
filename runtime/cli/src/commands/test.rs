//! `hob test`: the recorded runs of a homelab, replayed on its present scripts, and its tests that are scripts.

#![allow(clippy::disallowed_methods)] // the rim: the directory of tests is read here

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_daemon::case::Case;
use hob_daemon::node::{Node, Purpose};
use hob_daemon::trial::{Subject, Trial};
use hob_engine::Bundle;
use hob_journal::{Journal, MemoryJournal};
use hob_model::{Code, Diagnostic, RunEnd};
use hob_runs::Retold;
use hob_terminal::{Role, human};
use serde_json::json;

use super::history::read_case;
use crate::context::{Context, Exit, Failure, Outcome};
use crate::loader;

/// Where tests are kept, beside `homelab.rhai`.
const TESTS: &str = "tests";
/// The extension of a recorded run, and that of a script with tests.
const RECORDED: &str = "json";
const SCRIPT: &str = "rhai";
/// The most files of tests of one homelab.
const FILES_MAX: usize = 10_000;

/// What became of one test.
struct Judged {
    /// The file it stands in, without its extension.
    file: String,
    /// What it is called.
    name: String,
    problem: Option<String>,
}

/// `hob test`
pub(crate) fn test(context: &Context, path: &Path) -> Outcome {
    let loaded = loader::load_homelab(path)?;
    // What is declared is checked first: a mistake there would show in each case.
    let homelab = super::homelab::declared(context, &loaded)?;
    let dir = hob_daemon::core::directory_of(&loaded.bundle).to_path_buf();
    let files = test_files(&dir.join(TESTS))?;
    let journal = Arc::new(MemoryJournal::default());
    let node = super::run::node(Arc::clone(&journal) as Arc<dyn Journal>, vec![], Purpose::Look)?;
    let registry = crate::assemble::registry();
    let subject = Subject { homelab: &homelab, bundle: &loaded.bundle, registry: &registry };
    let mut all = Vec::new();
    for file in &files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let judged = |name: &str, problem| Judged { file: stem.clone(), name: name.to_owned(), problem };
        if file.extension().is_some_and(|extension| extension == SCRIPT) {
            let bundle = loader::load_tests(&dir, &format!("{TESTS}/{stem}.{SCRIPT}"))?;
            let trial = Trial::read(node.runs.host(), &bundle).map_err(|diagnostics| Failure {
                diagnostics,
                sources: bundle.files().map(|(path, text)| (path.to_owned(), Arc::clone(text))).collect(),
                exit: Exit::Failed,
            })?;
            for test in &trial.tests {
                tell(context, &mut all, judged(&test.name, trial.play(test, &subject)?));
            }
        } else {
            let case = read_case(file)?;
            let problem = replay(&node, &*journal, &case, &loaded.bundle)?;
            tell(context, &mut all, judged(&case.name, problem));
        }
    }
    conclude(context, &all)
}

/// Shows what became of a test as soon as it is known.
fn tell(context: &Context, all: &mut Vec<Judged>, judged: Judged) {
    if !context.global.json {
        let (role, word) = match judged.problem {
            None => (Role::Success, "ok"),
            Some(_) => (Role::Error, "FAILED"),
        };
        let line = format!("{} {} ({})", context.out.paint(role, word), judged.file, judged.name);
        let problem = judged.problem.as_ref();
        context.print_line(&problem.map_or_else(|| line.clone(), |why| format!("{line}: {why}")));
    }
    all.push(judged);
}

fn conclude(context: &Context, all: &[Judged]) -> Outcome {
    let failed = all.iter().filter(|judged| judged.problem.is_some()).count();
    if context.global.json {
        let one = |it: &Judged| json!({ "case": it.file, "name": it.name, "ok": it.problem.is_none(), "problem": it.problem });
        context.print_json(&all.iter().map(one).collect::<Vec<_>>().into());
    } else {
        let counted = human::counted(all.len() as u64, "test", "tests");
        context.say(&format!("{counted}, {failed} failed"));
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

/// The recorded runs and the scripts in `dir`, by name.
fn test_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        let text = format!("{} cannot be read: {error}", dir.display());
        Failure::from(Diagnostic::error(Code::UnreadableScript, text))
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("there are no tests in {}", dir.display());
            let hint = "`hob runs export RUN > tests/NAME.json` keeps a run as one; scripts declare them with `test`";
            return Err(Diagnostic::error(Code::Usage, text).hint(hint).into());
        }
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == RECORDED || extension == SCRIPT) {
            files.push(path);
        }
    }
    if files.len() > FILES_MAX {
        return Err(Failure::usage(format!("{} has more than {FILES_MAX} tests", dir.display())));
    }
    files.sort();
    Ok(files)
}

/// Replays a recorded run on `bundle`, with its recorded outcomes in place of the world; what is not as it was.
fn replay(
    node: &Node,
    journal: &dyn Journal,
    case: &Case,
    bundle: &Arc<Bundle>,
) -> Result<Option<String>, Failure> {
    if journal.run(case.run)?.is_none() {
        journal.submit(case.commit());
    }
    let retold = node.runs.retell(case.run, Arc::clone(bundle))?;
    Ok(match (retold, case.end()) {
        (Retold::Differs(difference), _) => {
            Some(format!("at {}: {}", difference.position, difference.message))
        }
        (Retold::Ended(end), Some(recorded)) if same(&end, recorded) => None,
        (Retold::Ended(end), Some(recorded)) => {
            Some(format!("it ends with {}, and ended with {}", told(&end), told(recorded)))
        }
        (Retold::Ended(end), None) => Some(format!("it ends with {}, where it went on", told(&end))),
        (Retold::GoesOn, Some(RunEnd::Succeeded(_) | RunEnd::Failed(_))) => {
            Some("it goes on with calls that were not recorded".to_owned())
        }
        // A cancelled run ends where it was cancelled, and one that carried on where its successor began.
        (Retold::GoesOn, _) => None,
    })
}

/// Whether both ended alike; where in the script an error comes from does not count.
fn same(a: &RunEnd, b: &RunEnd) -> bool {
    match (a, b) {
        (RunEnd::Failed(a), RunEnd::Failed(b)) => (a.kind, &a.message) == (b.kind, &b.message),
        (a, b) => a == b,
    }
}

fn told(end: &RunEnd) -> String {
    match end {
        RunEnd::Succeeded(value) => hob_daemon::view::value_json(value).to_string(),
        RunEnd::Failed(error) => format!("the error `{}`", error.message),
        RunEnd::Cancelled => "a cancel".to_owned(),
        RunEnd::Carried(_) => "a successor".to_owned(),
    }
}
