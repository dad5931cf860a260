//! Runs every example in the documentation of the operations and in the pages of the primitives, with the live adapters,
//! each in an empty directory.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hob_engine::{Bundle, Evaluated, Host, Mode, Performer, Records, RunCx, SCRIPT_STACK_BYTES, evaluate};
use hob_journal::{Commit, Journal, MemoryJournal, Write};
use hob_model::{Entry, EntryKind, OnDoubt, OpError, RunEntry, RunId, RunOwner, RunStarted, Value};
use hob_primitive::{Args, Ctx, Handler, Operation};
use hob_testkit::TestClock;

/// Carries out operations as the binary does.
struct Core(tokio::runtime::Runtime);

impl Performer for Core {
    fn perform(&self, operation: &Arc<Operation>, cx: &Ctx, args: Args) -> Result<Value, OpError> {
        match operation.handler {
            Handler::Pure(handler) => handler(args),
            Handler::Blocking(handler) => handler(cx, args),
            Handler::Async(handler) => self.0.block_on(handler(cx.clone(), args)),
        }
    }
}

/// An example, and where it stands.
struct Example {
    place: String,
    script: String,
}

/// The blocks of a Markdown text that are to be run: ```` ```rhai ````, but not ```` ```rhai,no_run ````.
fn examples(place: &str, markdown: &str) -> Vec<Example> {
    let blocks = markdown.split("```rhai\n").skip(1);
    let scripts = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    scripts.enumerate().map(|(at, script)| Example { place: format!("{place} #{at}"), script }).collect()
}

/// What a script comes to.
fn run(script: &str, host: &Arc<Host>, id: RunId) -> Evaluated {
    let cwd = tempfile::tempdir().unwrap();
    let bundle = Arc::new(Bundle::of_text("example.rhai", script, "test", ""));
    let started = RunStarted {
        name: "example".to_owned(),
        entry: RunEntry::Playbook("example.rhai".to_owned()),
        bundle: Some(bundle.digest()),
        input: Value::Unit,
        owner: RunOwner::Foreground,
        parent: None,
        cwd: cwd.path().display().to_string(),
        env: Vec::new(),
        allow: Vec::new(),
        deny: Vec::new(),
        trusted: true,
        on_doubt: OnDoubt::Ask,
        trigger: String::new(),
    };
    let entry = Entry { seq: 0, at: host.clock.now(), kind: EntryKind::Started(started) };
    let writes = bundle.writes().into_iter().chain([Write::Entry(id, entry.clone())]);
    host.journal.submit(Commit::from_iter(writes));
    let cx = RunCx::new(Arc::clone(host), id, Some(bundle), Records::of([entry]), Mode::Live);
    evaluate(&cx)
}

fn check(all: Vec<Example>) {
    assert!(all.len() > 10, "only {} examples were found", all.len());
    let core = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let host = Arc::new(Host::new(
        journal,
        Arc::new(hob_stdlib::registry()),
        Arc::new(hob_stdlib::live_ports()),
        Arc::new(TestClock::default()),
        Arc::new(Core(core)),
    ));
    let mut wrong = Vec::new();
    for (at, Example { place, script }) in all.into_iter().enumerate() {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&(at as u64).to_be_bytes());
        let id = RunId::new(host.clock.now(), random);
        match run(&script, &host, id) {
            Evaluated::Succeeded(Value::Bool(true) | Value::Unit) => {}
            Evaluated::Failed { error, .. } => {
                wrong.push(format!("{place}: {error} {:?}\n{script}", error.hint))
            }
            other => wrong.push(format!("{place}: {other:?}\n{script}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Scripts need the stack that the binary gives them.
fn on_script_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(SCRIPT_STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

#[test]
fn examples_of_operations_hold() {
    on_script_stack(|| {
        let primitives = hob_stdlib::primitives();
        let operations = primitives.iter().flat_map(|primitive| &primitive.operations);
        check(operations.flat_map(|operation| examples(operation.name, operation.doc)).collect());
    });
}

#[test]
fn examples_of_pages_hold() {
    on_script_stack(|| {
        let stdlib = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = fs::read_dir(stdlib).unwrap().map(|entry| entry.unwrap().path());
        let pages = folders.filter_map(|folder| {
            let text = fs::read_to_string(folder.join("README.md")).ok()?;
            Some(examples(&folder.file_name().unwrap().to_string_lossy(), &text))
        });
        check(pages.flatten().collect());
    });
}
