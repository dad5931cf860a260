//! `hob test`: the recorded runs of a homelab, replayed on its present scripts.

#![allow(clippy::disallowed_methods)] // the rim: the directory of tests is read here

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_daemon::case::Case;
use hob_daemon::node::{Node, Purpose};
use hob_engine::Bundle;
use hob_journal::{Journal, MemoryJournal};
use hob_model::{Code, Diagnostic, RunEnd};
use hob_runs::Retold;
use hob_terminal::{Role, human};
use serde_json::json;

use super::history::read_case;
use crate::context::{Context, Exit, Failure, Outcome};
use crate::loader;

/// Where recorded runs are kept, beside `homelab.rhai`.
const TESTS: &str = "tests";
/// The most recorded runs of one homelab.
const CASES_MAX: usize = 10_000;

/// `hob test`
pub(crate) fn test(context: &Context, path: &Path) -> Outcome {
    let loaded = loader::load_homelab(path)?;
    // What is declared is checked first: a mistake there would show in each case.
    super::homelab::declared(context, &loaded)?;
    let dir = hob_daemon::core::directory_of(&loaded.bundle).join(TESTS);
    let files = cases(&dir)?;
    let journal = Arc::new(MemoryJournal::default());
    let node = super::run::node(Arc::clone(&journal) as Arc<dyn Journal>, vec![], Purpose::Look)?;
    let (mut results, mut failed) = (Vec::new(), 0_u64);
    for file in &files {
        let case = read_case(file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let problem = replay(&node, &*journal, &case, &loaded.bundle)?;
        failed += u64::from(problem.is_some());
        results.push(json!({ "case": name, "name": case.name, "ok": problem.is_none(), "problem": problem }));
        if !context.global.json {
            let (role, word) =
                if problem.is_none() { (Role::Success, "ok") } else { (Role::Error, "FAILED") };
            let line = format!("{} {name} ({})", context.out.paint(role, word), case.name);
            context.print_line(&problem.map_or_else(|| line.clone(), |why| format!("{line}: {why}")));
        }
    }
    if context.global.json {
        context.print_json(&results.into());
    } else {
        let all = human::counted(files.len() as u64, "recorded run", "recorded runs");
        context.say(&format!("{all}, {failed} failed"));
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Done })
}

fn cases(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| {
        let text = format!("{} cannot be read: {error}", dir.display());
        Failure::from(Diagnostic::error(Code::UnreadableScript, text))
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("there are no tests in {}", dir.display());
            let hint = "`hob runs export RUN > tests/NAME.json` keeps a run as one";
            return Err(Diagnostic::error(Code::Usage, text).hint(hint).into());
        }
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    if files.len() > CASES_MAX {
        return Err(Failure::usage(format!("{} has more than {CASES_MAX} recorded runs", dir.display())));
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
