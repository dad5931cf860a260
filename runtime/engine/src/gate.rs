//! The gate: the one way from a script into the world.
//!
//! ```text
//! call ─▶ position ─▶ record? ──outcome──▶ served
//!                        │   └──intent only──▶ settled by class: done again, probed, or in doubt
//!                        └──none──▶ permitted? ─▶ intent durable ─▶ performed ─▶ outcome recorded
//! ```

mod seal;
mod settle;

use std::cell::Cell;
use std::sync::Arc;

use hob_journal::JournalError;
use hob_model::{EffectClass, EntryKind, ErrorKind, OpError, Payload, Position, Source, Value};
use hob_primitive::{Cancel, Ctx, CtxParts, Operation, Probe};
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use crate::branch::{BranchCx, branch_of};
use crate::compensate::{Closure, Compensation};
use crate::convert::{to_dynamic, to_rhai_error};
use crate::host::cwd_of;
use crate::latch::Halt;
use crate::permission::Permissions;
use crate::records::Record;
use crate::request::{Attempts, Request, call_text};
use crate::run_cx::{Mode, RunCx};

type Thrown = Box<EvalAltResult>;

/// One call on its way through the gate.
struct Passage<'a> {
    branch: Arc<BranchCx>,
    operation: &'a Arc<Operation>,
    n: u32,
    position: Position,
    source: Source,
    /// The number of the entry that registered a compensation with this call.
    seq: Cell<u64>,
}

/// What a record says about a call.
enum Found {
    /// It was done.
    Outcome(Result<Payload, OpError>),
    /// An intent without an outcome.
    Unsettled(Record),
    /// Nothing: it is to be done, with the key and note of an earlier intent if there was one.
    Nothing,
}

/// Carries a script's call of `operation` through the gate.
///
/// # Errors
/// The operation's error as a map that the script can catch, or the uncatchable end of the evaluation.
pub(crate) fn call(
    ctx: &NativeCallContext<'_>,
    operation: &Arc<Operation>,
    args: &mut [&mut Dynamic],
) -> Result<Dynamic, Thrown> {
    let branch = branch_of(ctx, operation.name)?;
    branch.check()?;
    let source = branch.source_of(ctx);
    let (n, position) = branch.next_effect();
    branch.check_aim(&position, &source)?;
    let passage = Passage { branch, operation, n, position, source, seq: Cell::new(0) };
    let result = match Request::read(operation, args) {
        Ok(mut request) => {
            let undo = request.undo.take();
            let result = passage.pass(&request, undo.is_some())?;
            if let (Some(undo), Ok(value)) = (undo, &result) {
                passage.register_undo(ctx, undo, value.clone());
            }
            result
        }
        Err(error) => passage.refuse(error)?,
    };
    passage.branch.mark_event();
    match result {
        Ok(value) => Ok(to_dynamic(value)),
        Err(error) => Err(to_rhai_error(&error, ctx.call_position())),
    }
}

impl Passage<'_> {
    fn run(&self) -> &Arc<RunCx> {
        &self.branch.run
    }

    /// The outcome of the call: served from its record, or made.
    fn pass(&self, request: &Request, undoes: bool) -> Result<Result<Value, OpError>, Thrown> {
        if let Some(value) =
            crate::run_cx::lock(&self.run().records).overridden.get(self.position.as_str()).cloned()
        {
            return Ok(self.run().load(&value));
        }
        match self.find(&request.payload)? {
            Found::Outcome(outcome) => Ok(outcome.and_then(|payload| self.run().load(&payload))),
            Found::Unsettled(record) => self.settle(request, undoes, &record),
            Found::Nothing => self.act(request, undoes, None),
        }
    }

    /// A call that was refused before it could be one takes its position and leaves its outcome all the same.
    fn refuse(&self, error: OpError) -> Result<Result<Value, OpError>, Thrown> {
        let (payload, _) = RunCx::payload(&Value::Unit);
        match self.find(&payload)? {
            Found::Outcome(outcome) => Ok(outcome.and_then(|payload| self.run().load(&payload))),
            _ => {
                self.check_end()?;
                let error = self.stamp(error);
                self.record_outcome(self.operation.class, Some(payload), &Err(error.clone()));
                Ok(Err(error))
            }
        }
    }

    /// What is recorded at this position; a record of another call ends the evaluation.
    fn find(&self, payload: &Payload) -> Result<Found, Thrown> {
        let Some(record) = self.branch.record(self.n) else {
            if crate::run_cx::lock(&self.run().records).is_group(&self.position) {
                let group = Record { operation: "parallel or race".to_owned(), ..Record::default() };
                return Err(self.differ(&group, payload));
            }
            return Ok(Found::Nothing);
        };
        self.seq.set(record.seq);
        // A call of which only the compensation was recorded before the process ended has left no arguments.
        if record.operation != self.operation.name || record.args.as_ref().is_some_and(|args| args != payload)
        {
            return Err(self.differ(&record, payload));
        }
        if let Some(outcome) = record.outcome {
            return Ok(Found::Outcome(outcome));
        }
        // What was reopened by `runs retry` had a known failure, so only a key is left to be asked about.
        let unknown =
            record.intent.is_some() && (record.reopened == 0 || record.class == Some(EffectClass::Keyed));
        Ok(if unknown || record.doubt { Found::Unsettled(record) } else { Found::Nothing })
    }

    fn differ(&self, record: &Record, payload: &Payload) -> Thrown {
        let args = |payload: &Payload| match self.run().load(payload) {
            Ok(Value::Array(args)) => args,
            _ => Vec::new(),
        };
        let message = format!(
            "the record says {} at {}, the script now calls {} at {}",
            call_text(&record.operation, &record.args.as_ref().map(args).unwrap_or_default()),
            record.source,
            call_text(self.operation.name, &args(payload)),
            self.source,
        );
        self.branch.differ(&self.position, message)
    }

    /// Ends the evaluation where nothing new may begin.
    fn check_end(&self) -> Result<(), Thrown> {
        match self.branch.barrier() {
            Some(halt) => Err(self.branch.halt(halt)),
            None => Ok(()),
        }
    }

    fn key(&self) -> String {
        self.run().id.effect_key(&self.position)
    }

    fn ctx(&self, request: &Request, key: String, noted: Value, cancel: Cancel) -> Ctx {
        let run = Arc::clone(self.run());
        let operation = self.operation.name;
        let (id, observer) = (run.id, Arc::clone(&run.host.observer));
        let vault = run.host.ports.get::<dyn hob_primitive::Vault>();
        let permissions = run.permissions.clone();
        Ctx::new(CtxParts {
            ports: Arc::clone(&run.host.ports),
            clock: Arc::clone(&run.host.clock),
            run: id.to_string(),
            position: self.position.to_string(),
            key,
            cwd: cwd_of(&run.started.cwd),
            env: Arc::clone(&run.env),
            timeout: request.timeout,
            on_doubt: self.on_doubt(request),
            noted,
            cancel,
            progress: Arc::new(move |mut progress| {
                if let Some(concealed) = vault.as_ref().and_then(|it| it.conceal(&progress.message)) {
                    progress.message = concealed;
                }
                observer.progress(id, operation, progress);
            }),
            permits: Arc::new(move |need| permissions.permits(need)),
        })
    }

    /// Does it. `before` is the record of an intent whose outcome is unknown or void.
    fn act(
        &self,
        request: &Request,
        undoes: bool,
        before: Option<&Record>,
    ) -> Result<Result<Value, OpError>, Thrown> {
        self.check_end()?;
        let run = self.run();
        let needs = request.needs(self.operation, &cwd_of(&run.started.cwd));
        if let Some(need) = needs.iter().find(|need| !run.permissions.permits(need)) {
            let error = self.stamp(not_permitted(need, &run.permissions));
            self.record_outcome(request.class, Some(request.payload.clone()), &Err(error.clone()));
            return Ok(Err(error));
        }
        if run.mode == Mode::Dry && request.class.acts() {
            return Ok(self.pretend(request));
        }
        let intended = match self.intend(request, undoes, before)? {
            Ok(intended) => intended,
            Err(error) => {
                let error = self.stamp(error);
                self.record_outcome(request.class, Some(request.payload.clone()), &Err(error.clone()));
                return Ok(Err(error));
            }
        };
        let result = self.perform(request, &intended).map_err(|error| self.stamp(error));
        let lost =
            matches!(&result, Err(error) if error.kind == ErrorKind::Cancelled && !error.nothing_happened);
        if lost && request.class.needs_intent() && self.branch.must_end() {
            // Its branch was cancelled under it: what it did is unknown, and nobody waits for it any more.
            self.branch.give_up(self.n, EntryKind::Abandoned { position: self.position.clone() });
            return Err(self.branch.halt(Halt::Cancelled));
        }
        let args = (!request.class.needs_intent()).then(|| request.payload.clone());
        let blob = if request.class.needs_intent() { None } else { request.blob.clone() };
        self.record(request.class, args, &result, blob);
        Ok(result)
    }

    /// Everything that must be durable before the effect starts is durable when this returns. Gives the key and the
    /// note, or an error that is the effect's outcome.
    fn intend(
        &self,
        request: &Request,
        undoes: bool,
        before: Option<&Record>,
    ) -> Result<Result<(String, Value), OpError>, Thrown> {
        let run = self.run();
        if !request.class.acts() {
            return Ok(Ok((self.key(), Value::Unit)));
        }
        if let Err(error) = run.host.journal.may_act() {
            return self.cannot_act(&error).map(Err);
        }
        let key = before.and_then(|r| r.intent.as_ref()).map_or_else(|| self.key(), |(key, _)| key.clone());
        let mut entries = Vec::with_capacity(2);
        let mut beside = Vec::new();
        let mut noted = Value::Unit;
        if request.class.needs_intent() {
            if let Some(intent) = self.operation.keyed.and_then(|keyed| keyed.intent) {
                let ctx = self.ctx(request, key.clone(), Value::Unit, Cancel::default());
                let note = run.host.performer.note(intent, &ctx, request.args());
                noted = match seal::outcome(&run.host, note) {
                    Ok(noted) => noted,
                    Err(error) => return Ok(Err(error.nothing_happened())),
                };
            }
            let (noted, blob) = RunCx::payload(&noted);
            beside.extend(blob.into_iter().chain(request.blob.clone()));
            self.branch.keep(self.n, |record| {
                record.operation = self.operation.name.to_owned();
                record.args = Some(request.payload.clone());
                record.class = Some(request.class);
                record.intent = Some((key.clone(), noted.clone()));
            });
            entries.push(EntryKind::Intent {
                position: self.position.clone(),
                operation: self.operation.name.to_owned(),
                class: request.class,
                args: request.payload.clone(),
                key: key.clone(),
                noted,
                source: self.source.clone(),
            });
        }
        if undoes {
            let (position, source) = (self.position.clone(), self.source.clone());
            let operation = self.operation.name.to_owned();
            entries.push(EntryKind::Compensation { position, operation, always: false, source });
        }
        if !entries.is_empty() {
            let first = run.append(entries, beside).0;
            if self.seq.get() == 0 {
                // Done again it keeps its place in the order of compensations.
                self.seq.set(first);
                self.branch.keep(self.n, |record| {
                    record.operation = self.operation.name.to_owned();
                    record.seq = first;
                });
            }
        }
        match run.flush() {
            Ok(()) => Ok(Ok((key, noted))),
            Err(_) => Err(self.branch.halt(Halt::Stopped)),
        }
    }

    /// What a call that acts ends with when the journal takes no more: an error where only space is missing.
    fn cannot_act(&self, error: &JournalError) -> Result<OpError, Thrown> {
        if !matches!(error, JournalError::Reserve { .. }) {
            let _ = self.run().flush();
            return Err(self.branch.halt(Halt::Stopped));
        }
        let full = OpError::unavailable(error.to_string()).nothing_happened();
        Ok(full.hint("free some space on that disk; the run goes on with `hob runs retry`"))
    }

    /// Performs it, again after transient failures.
    fn perform(&self, request: &Request, (key, noted): &(String, Value)) -> Result<Value, OpError> {
        let run = self.run();
        let cancel = Cancel::default();
        let flight = run.take_off(&self.branch.latch, &cancel);
        let ctx = self.ctx(request, key.clone(), noted.clone(), cancel);
        let attempts = request.attempts.unwrap_or_default();
        let span = tracing::debug_span!("effect", operation = self.operation.name, run = %run.id, position = %self.position);
        let result = span.in_scope(|| self.attempt(request, &ctx, &attempts, key));
        run.landed(flight);
        let outcome = result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "succeeded");
        metrics::counter!("hob_effects_total", "operation" => self.operation.name, "outcome" => outcome)
            .increment(1);
        result
    }

    fn attempt(
        &self,
        request: &Request,
        ctx: &Ctx,
        attempts: &Attempts,
        key: &str,
    ) -> Result<Value, OpError> {
        let performer = &self.run().host.performer;
        let mut failures = 0;
        loop {
            let performed = performer.perform(self.operation, ctx, request.args());
            let error = match seal::outcome(&self.run().host, performed) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failures += 1;
            let safe = request.class != EffectClass::Once || error.nothing_happened;
            if !error.retryable || !safe || failures >= attempts.attempts || self.branch.must_end() {
                return Err(error);
            }
            tracing::debug!(%error, failures, "trying again");
            if !performer.pause(ctx, retry_after(&error).unwrap_or_else(|| attempts.pause(failures, key))) {
                return Err(error);
            }
            // Much may have happened meanwhile.
            let may_act = self.run().host.journal.may_act();
            let stopped = matches!(&may_act, Err(why) if !matches!(why, JournalError::Reserve { .. }));
            if stopped || self.branch.must_end() {
                return Err(error);
            }
            if request.class == EffectClass::Keyed && !error.nothing_happened {
                let keyed = self.operation.keyed;
                let probe = |keyed: hob_primitive::Keyed| performer.probe(keyed.probe, ctx, request.args());
                match keyed.map(|keyed| seal::probe(&self.run().host, probe(keyed))) {
                    Some(Ok(Probe::Done(value))) => return Ok(value),
                    Some(Ok(Probe::Failed(error))) => return Err(error),
                    Some(Ok(Probe::NotDone)) => {}
                    _ => return Err(error),
                }
            }
        }
    }

    /// A dry run's stand-in for acting.
    fn pretend(&self, request: &Request) -> Result<Value, OpError> {
        let run = self.run();
        let modelled = self.operation.model.map(|model| {
            let ctx = self.ctx(request, self.key(), Value::Unit, Cancel::default());
            seal::outcome(&run.host, model(&ctx, request.args()))
        });
        run.host.observer.dry(run.id, &request.text(self.operation.name), modelled.is_some());
        let result = modelled.unwrap_or(Ok(Value::Unit)).map_err(|error| self.stamp(error));
        self.record(request.class, Some(request.payload.clone()), &result, request.blob.clone());
        result
    }

    /// Adds the operation and the position to an error.
    fn stamp(&self, mut error: OpError) -> OpError {
        self.operation.name.clone_into(&mut error.operation);
        error.position = Some(self.position.clone());
        error
    }

    fn record_outcome(&self, class: EffectClass, args: Option<Payload>, result: &Result<Value, OpError>) {
        self.record(class, args, result, None);
    }

    fn record(
        &self,
        class: EffectClass,
        args: Option<Payload>,
        result: &Result<Value, OpError>,
        args_blob: Option<hob_journal::Write>,
    ) {
        let (stored, blob) = match result {
            Ok(value) => {
                let (payload, blob) = RunCx::payload(value);
                (Ok(payload), blob)
            }
            Err(error) => (Err(error.clone()), None),
        };
        self.branch.keep(self.n, |record| {
            record.operation = self.operation.name.to_owned();
            record.class = Some(class);
            record.args = args.clone().or(record.args.take());
            record.outcome = Some(stored.clone());
        });
        let outcome = EntryKind::Outcome {
            position: self.position.clone(),
            operation: self.operation.name.to_owned(),
            class,
            args,
            result: stored,
            source: self.source.clone(),
        };
        self.run().append(vec![outcome], blob.into_iter().chain(args_blob).collect());
    }

    fn register_undo(&self, ctx: &NativeCallContext<'_>, undo: rhai::FnPtr, value: Value) {
        self.branch.mark_compensates();
        let closure = Closure::capture(ctx, undo);
        let compensation = Compensation {
            position: self.position.clone(),
            seq: self.seq.get(),
            closure,
            argument: Some(value),
            always: false,
        };
        self.run().register(compensation);
    }
}

/// The pause that the other side asked for.
fn retry_after(error: &OpError) -> Option<std::time::Duration> {
    let millis = error.details.get("retry_after_ms")?.as_int()?;
    u64::try_from(millis).ok().map(std::time::Duration::from_millis)
}

fn not_permitted(need: &str, permissions: &Permissions) -> OpError {
    let hint = match permissions.denied_by(need) {
        Some(deny) => {
            format!("`{deny}` is denied, by --deny, by deny: […] in the declaration or by hob.toml")
        }
        None => format!("grant it with --allow '{need}', or allow: [\"{need}\"] in the declaration"),
    };
    OpError::denied(format!("this run may not do `{need}`"))
        .hint(hint)
        .detail("permission", need)
        .retryable(false)
}
