//! A session as a run: here, or in the process that holds the state directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hob_daemon::client::Client;
use hob_daemon::clock::SystemClock;
use hob_daemon::http::Waiters;
use hob_daemon::node::{Node, Purpose};
use hob_daemon::performer::AsyncCore;
use hob_daemon::playbook::Playbook;
use hob_engine::Bundle;
use hob_engine::control::session::{INPUT_SIGNAL, problem_of};
use hob_engine::inputs::input_name;
use hob_journal::{Journal, JournalError};
use hob_model::{
    Code, Diagnostic, Entry, EntryKind, OnDoubt, OpError, Payload, RunId, RunOwner, RunStatus, Value,
};
use hob_primitive::Clock;
use hob_repl::Problem;
use hob_runs::Listener;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{problem, step};
use crate::args::ReplArgs;
use crate::commands::run::{LEAVE_GRACE, node};
use crate::commands::serve::{Beside, beside};
use crate::context::{Context, Failure, cwd};
use crate::input;
use crate::watch::Watch;

/// The script of a session: what it does comes as it is typed.
const SCRIPT: &str = "// A session of `hob repl`: its inputs are the signals of this run.\nsession()\n";
/// The name of that script.
const SCRIPT_NAME: &str = "session.rhai";
/// The pause between looks at what an input came to.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// An input that takes longer shows that it is under way.
const WORTH_SHOWING: Duration = Duration::from_millis(300);
/// Entries that are read at one time.
const ENTRIES_AT_ONCE: usize = 1_000;
/// How long the end of a session may take.
const END_LOOKS_MAX: usize = 1_000;

/// Who evaluates the session.
enum Place {
    Here { node: Node, watch: Arc<Watch>, _served: Beside },
    There(Client),
}

/// A session under way.
pub(super) struct Session {
    pub(super) run: RunId,
    place: Place,
    journal: Arc<dyn Journal>,
    /// The number of the first entry that was not looked at.
    next_seq: u64,
    /// How many inputs were given.
    inputs: u32,
    texts: BTreeMap<String, Arc<str>>,
    interrupted: Arc<AtomicBool>,
    /// Hears Ctrl-C.
    _ears: AsyncCore,
}

impl Session {
    /// Starts a session, or goes on with one that was cut short.
    pub(super) fn begin(context: &Context, args: &ReplArgs) -> Result<(Self, Vec<String>), Failure> {
        match context.open() {
            Ok(journal) => Self::here(context, args, journal),
            Err(JournalError::Locked { .. }) => Self::there(context, args),
            Err(error) => Err(error.into()),
        }
    }

    fn here(
        context: &Context,
        args: &ReplArgs,
        journal: Arc<dyn Journal>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let old = args
            .resume
            .as_deref()
            .map(|prefix| crate::commands::runs::find(&*journal, prefix))
            .transpose()?;
        let run = old.unwrap_or_else(|| RunId::new(SystemClock.now(), hob_daemon::clock::entropy()));
        let loudness = if context.global.quiet { 0 } else { 1 + context.global.verbose };
        let watch = Watch::new(run, context.err, loudness);
        let waiters = Arc::new(Waiters::default());
        let listeners =
            vec![Arc::clone(&watch) as Arc<dyn Listener>, Arc::clone(&waiters) as Arc<dyn Listener>];
        let node = node(Arc::clone(&journal), listeners, Purpose::Act)?;
        node.recover(false)?;
        let served = beside(context, &node, waiters);
        match old {
            None => playbook(args)?.start(&node.runs, run)?,
            Some(_) if node.runs.row(run)?.status == RunStatus::Interrupted => node.runs.resume(run)?,
            Some(_) => {}
        }
        Self::of(run, Place::Here { node, watch, _served: served }, journal)
    }

    fn there(context: &Context, args: &ReplArgs) -> Result<(Self, Vec<String>), Failure> {
        let client = Client::new(context.socket());
        let journal = context.read()?;
        let run = match &args.resume {
            Some(prefix) => crate::commands::runs::find(&*journal, prefix)?,
            None => start_there(&client, args)?,
        };
        Self::of(run, Place::There(client), journal)
    }

    fn of(run: RunId, place: Place, journal: Arc<dyn Journal>) -> Result<(Self, Vec<String>), Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let ears = AsyncCore::default();
        listen(&ears, &interrupted);
        let mut session = Self {
            run,
            place,
            journal,
            next_seq: 0,
            inputs: 0,
            texts: BTreeMap::new(),
            interrupted,
            _ears: ears,
        };
        let inputs = session.past()?;
        Ok((session, inputs))
    }

    /// The inputs so far that came to a value, of a session that goes on.
    fn past(&mut self) -> Result<Vec<String>, Failure> {
        let (mut texts, mut done) = (Vec::new(), Vec::new());
        for entry in self.entries()? {
            match entry.kind {
                EntryKind::Outcome { operation, result: Ok(payload), .. } if operation == "wait_signal" => {
                    let value = self.load(&payload)?;
                    texts.extend(value.get("text").and_then(Value::as_str).map(str::to_owned));
                }
                EntryKind::StepEnded { position, result, .. } if result.is_ok() => done.push(position),
                _ => {}
            }
        }
        self.inputs = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        for (number, text) in (1..).zip(&texts) {
            self.texts.insert(input_name(number), text.as_str().into());
        }
        let ended = |number: u32| done.contains(&step(number));
        Ok((1..).zip(texts).filter(|(number, _)| ended(*number)).map(|(_, text)| text).collect())
    }

    /// Has an input evaluated, and waits for what it comes to.
    pub(super) fn evaluate(&mut self, text: &str) -> Result<Value, Problem> {
        self.interrupted.store(false, Ordering::SeqCst);
        self.inputs += 1;
        self.texts.insert(input_name(self.inputs as usize), text.into());
        self.send(Value::map([("text", Value::from(text))])).map_err(problem)?;
        let wanted = step(self.inputs);
        let mut waited = Duration::ZERO;
        loop {
            for entry in self.entries().map_err(problem)? {
                match entry.kind {
                    EntryKind::StepEnded { position, result, .. } if position == wanted => {
                        self.finish();
                        return match result {
                            Ok(payload) => self.load(&payload).map_err(problem),
                            Err(error) => Err(self.problem(&error)),
                        };
                    }
                    EntryKind::Ended { .. } => return Err(self.gone("the session has ended")),
                    EntryKind::Paused { message, .. } => return Err(self.gone(&message)),
                    EntryKind::Log { level, message, .. } => self.log(&level, &message),
                    EntryKind::Doubt { position } => self.doubt(&position.to_string()),
                    _ => {}
                }
            }
            if self.interrupted.swap(false, Ordering::SeqCst) {
                self.interrupt().map_err(problem)?;
            }
            if waited == WORTH_SHOWING
                && let Place::Here { watch, .. } = &self.place
            {
                watch.spin("working; Ctrl-C ends it");
            }
            std::thread::sleep(LOOK_INTERVAL);
            waited += LOOK_INTERVAL;
        }
    }

    fn problem(&self, error: &OpError) -> Problem {
        Problem { diagnostics: vec![problem_of(error)], sources: self.texts.clone(), ends: false }
    }

    fn gone(&self, why: &str) -> Problem {
        self.finish();
        let text = format!("{why}; `hob runs show {}` tells more", self.run);
        let diagnostic = Diagnostic::error(Code::WrongRunState, text);
        Problem { ends: true, ..Problem::from(diagnostic) }
    }

    /// Ends what shows that something is under way.
    fn finish(&self) {
        if let Place::Here { watch, .. } = &self.place {
            watch.finish();
        }
    }

    /// What a daemon's session logs; that of one here is shown as it comes.
    fn log(&self, level: &str, message: &str) {
        if matches!(self.place, Place::There(_)) {
            eprint_line(&format!("{level:>5} {}", hob_terminal::text::sanitize(message)));
        }
    }

    fn doubt(&self, position: &str) {
        eprint_line(&format!(
            "nobody knows whether the effect at {position} happened; in another terminal: hob runs resolve {} {position} --retry|--skip",
            self.run
        ));
    }

    fn send(&self, payload: Value) -> Result<(), Failure> {
        match &self.place {
            Place::Here { node, .. } => Ok(node.runs.signal(self.run, INPUT_SIGNAL, payload)?),
            Place::There(client) => {
                let payload = payload.to_json().map_err(|error| Failure::usage(error.to_string()))?;
                let body = json!({ "name": INPUT_SIGNAL, "payload": payload });
                client.post(&format!("/api/v1/runs/{}/signal", self.run), &body)?;
                Ok(())
            }
        }
    }

    /// Ends the effect or the wait that is under way.
    fn interrupt(&self) -> Result<(), Failure> {
        match &self.place {
            Place::Here { node, .. } => node.runs.interrupt(self.run, INPUT_SIGNAL).map(drop)?,
            Place::There(client) => {
                client.post(
                    &format!("/api/v1/runs/{}/interrupt", self.run),
                    &json!({ "kept": INPUT_SIGNAL }),
                )?;
            }
        }
        Ok(())
    }

    /// The entries since the last look.
    fn entries(&mut self) -> Result<Vec<Entry>, Failure> {
        let mut all = Vec::new();
        loop {
            let some = self.journal.entries(self.run, self.next_seq, ENTRIES_AT_ONCE)?;
            let more = some.len() == ENTRIES_AT_ONCE;
            self.next_seq = some.last().map_or(self.next_seq, |entry| entry.seq + 1);
            all.extend(some);
            if !more {
                return Ok(all);
            }
        }
    }

    fn load(&self, payload: &Payload) -> Result<Value, Failure> {
        let damaged = |why: String| Diagnostic::error(Code::JournalCorrupt, why);
        let bytes = match payload {
            Payload::Inline(bytes) => bytes.clone(),
            Payload::Blob(digest, _) => self
                .journal
                .blob(*digest)?
                .ok_or_else(|| damaged(format!("blob {} is missing", digest.short())))?,
        };
        Ok(Value::decode(&bytes).map_err(|error| damaged(error.to_string()))?)
    }

    /// Ends this session and begins another.
    pub(super) fn reset(&mut self, args: &ReplArgs) -> Result<(), Failure> {
        self.conclude();
        self.run = match &self.place {
            Place::Here { node, watch, .. } => {
                let run = node.runs.new_id();
                watch.turn_to(run);
                playbook(args)?.start(&node.runs, run)?;
                run
            }
            Place::There(client) => start_there(client, args)?,
        };
        (self.next_seq, self.inputs) = (0, 0);
        self.texts.clear();
        Ok(())
    }

    /// Ends the session, and what serves it here.
    pub(super) fn end(&mut self) {
        self.conclude();
        if let Place::Here { node, .. } = &self.place {
            node.close(LEAVE_GRACE);
        }
    }

    /// Has the run succeed with its last value.
    fn conclude(&mut self) {
        if self.send(Value::Map(Default::default())).is_ok() {
            for _ in 0..END_LOOKS_MAX {
                match self.journal.run(self.run) {
                    Ok(Some(row)) if !row.status.ended() => std::thread::sleep(LOOK_INTERVAL),
                    _ => break,
                }
            }
        }
    }
}

#[allow(clippy::print_stderr)] // the rim: what a session says while it works
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

fn start_there(client: &Client, args: &ReplArgs) -> Result<RunId, Failure> {
    let started = client.post("/api/v1/runs", &json!({ "playbook": playbook(args)?.to_json()? }))?;
    crate::commands::remote::run_of(&started)
}

fn playbook(args: &ReplArgs) -> Result<Playbook, Failure> {
    let cwd = cwd().to_string_lossy().into_owned();
    let bundle = Bundle::of_text(SCRIPT_NAME, SCRIPT, &cwd, &crate::loader::host_name());
    Ok(Playbook {
        name: "repl".to_owned(),
        bundle: Arc::new(bundle),
        input: Value::Map(Default::default()),
        owner: RunOwner::Foreground,
        cwd,
        env: input::environment(&args.permissions)?,
        allow: input::permissions("--allow", &args.permissions.allow)?,
        deny: input::permissions("--deny", &args.permissions.deny)?,
        // The person who types is the caller.
        trusted: true,
        on_doubt: OnDoubt::Ask,
    })
}

/// Notes each Ctrl-C from now on; while a line is typed the terminal sends none.
fn listen(core: &AsyncCore, interrupted: &Arc<AtomicBool>) {
    let interrupted = Arc::clone(interrupted);
    core.runtime().spawn(async move {
        let Ok(mut signals) = signal(SignalKind::interrupt()) else { return };
        while signals.recv().await.is_some() {
            interrupted.store(true, Ordering::SeqCst);
        }
    });
}
