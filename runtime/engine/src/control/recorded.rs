//! What the controls share: taking a position, comparing with the record, leaving one.

use std::sync::Arc;

use hob_journal::Write;
use hob_model::{EffectClass, EntryKind, OpError, Payload, Position, Source, Value, Wait};
use rhai::{Dynamic, EvalAltResult, NativeCallContext};

use crate::branch::{BranchCx, branch_of};
use crate::convert::{to_dynamic, to_rhai_error};
use crate::latch::Halt;
use crate::records::Record;
use crate::request::call_text;
use crate::run_cx::RunCx;

pub(super) type Thrown = Box<EvalAltResult>;

/// A control's call: its branch, its position and what is recorded there.
pub(super) struct Control {
    pub(super) branch: Arc<BranchCx>,
    pub(super) name: &'static str,
    pub(super) n: u32,
    pub(super) position: Position,
    pub(super) source: Source,
    pub(super) args: Payload,
    blob: Option<Write>,
    pub(super) record: Option<Record>,
}

impl Control {
    /// Takes the next position of the branch for a call of `name` with `args`.
    ///
    /// # Errors
    /// Where nothing may be called, when the latch is set, or when the record is of another call.
    pub(super) fn enter(
        ctx: &NativeCallContext<'_>,
        name: &'static str,
        args: Value,
    ) -> Result<Self, Thrown> {
        let branch = branch_of(ctx, name)?;
        branch.check()?;
        if let Value::Array(args) = &args
            && let Some(first) = args.first()
        {
            crate::secret::refuse_in(first, "a name").map_err(|error| misuse(ctx, name, error))?;
        }
        let source = branch.source_of(ctx);
        let (n, position) = branch.next_effect();
        branch.check_aim(&position, &source)?;
        let record = branch.record(n);
        let (payload, blob) = RunCx::payload(&args);
        let it = Self { branch, name, n, position, source, args: payload, blob, record };
        let opens = matches!(name, "parallel" | "race");
        if it.record.is_none() && !opens && crate::run_cx::lock(&it.branch.run.records).is_group(&it.position)
        {
            let group = Record { operation: "parallel or race".to_owned(), ..Record::default() };
            return Err(it.differ(&group, &args));
        }
        match &it.record {
            Some(record) if !record.operation.is_empty() && record.operation != name => {
                Err(it.differ(record, &args))
            }
            Some(record) if record.args.as_ref().is_some_and(|recorded| *recorded != it.args) => {
                Err(it.differ(record, &args))
            }
            _ => Ok(it),
        }
    }

    fn differ(&self, record: &Record, args: &Value) -> Thrown {
        let list = |value: &Value| match value {
            Value::Array(items) => items.clone(),
            other => vec![other.clone()],
        };
        let recorded =
            record.args.as_ref().and_then(|payload| self.branch.run.load(payload).ok()).unwrap_or_default();
        let message = format!(
            "the record says {} at {}, the script now calls {} at {}",
            call_text(&record.operation, &list(&recorded)),
            record.source,
            call_text(self.name, &list(args)),
            self.source
        );
        self.branch.differ(&self.position, message)
    }

    /// The value that a fork gave to this call instead of its outcome, if it did.
    pub(super) fn given(&self) -> Option<Result<Value, OpError>> {
        let run = &self.branch.run;
        let payload = crate::run_cx::lock(&run.records).overridden.get(self.position.as_str()).cloned()?;
        Some(run.load(&payload))
    }

    /// The given or the recorded outcome, if there is one.
    pub(super) fn outcome(&self) -> Option<Result<Value, OpError>> {
        self.given().or_else(|| {
            let outcome = self.record.as_ref()?.outcome.clone()?;
            Some(outcome.and_then(|payload| self.branch.run.load(&payload)))
        })
    }

    /// Ends the evaluation where nothing new may begin.
    pub(super) fn check_end(&self) -> Result<(), Thrown> {
        match self.branch.barrier() {
            Some(halt) => Err(self.branch.halt(halt)),
            None => Ok(()),
        }
    }

    /// Records the outcome, in one commit with `beside`.
    pub(super) fn record_outcome(&self, result: &Result<Value, OpError>, beside: Vec<Write>) {
        let (stored, blob) = match result {
            Ok(value) => {
                let (payload, blob) = RunCx::payload(value);
                (Ok(payload), blob)
            }
            Err(error) => (Err(error.clone()), None),
        };
        self.branch.keep(self.n, |record| {
            record.operation = self.name.to_owned();
            record.args = Some(self.args.clone());
            record.outcome = Some(stored.clone());
        });
        let entry = EntryKind::Outcome {
            position: self.position.clone(),
            operation: self.name.to_owned(),
            class: EffectClass::Observe,
            args: Some(self.args.clone()),
            result: stored,
            source: self.source.clone(),
        };
        self.branch
            .run
            .append(vec![entry], beside.into_iter().chain(blob).chain(self.blob.clone()).collect());
    }

    /// The recorded end of the wait at this position; without one the branch is suspended, its wait recorded.
    pub(super) fn wait(
        &self,
        ctx: &NativeCallContext<'_>,
        make: impl FnOnce() -> Result<(Wait, Vec<Write>), OpError>,
    ) -> Result<Dynamic, Thrown> {
        if let Some(outcome) = self.outcome() {
            self.branch.mark_event();
            return self.finish(ctx, outcome);
        }
        let waits = self.record.as_ref().is_some_and(|record| record.wait.is_some());
        if let Some(halt) = self.branch.barrier() {
            if waits && halt == Halt::Cancelled {
                // Were it fulfilled after compensations began, a later replay would go on past the cancel.
                self.branch.give_up(self.n, EntryKind::Withdrawn { position: self.position.clone() });
            }
            return Err(self.branch.halt(halt));
        }
        if waits {
            return Err(self.branch.halt(Halt::Suspended));
        }
        let (wait, beside) = match make() {
            Ok(made) => made,
            Err(error) => {
                let result = Err(self.stamp(error));
                self.record_outcome(&result, vec![]);
                return self.finish(ctx, result);
            }
        };
        self.branch.keep(self.n, |record| {
            record.operation = self.name.to_owned();
            record.args = Some(self.args.clone());
            record.wait = Some(wait.clone());
        });
        let entry = EntryKind::Wait {
            position: self.position.clone(),
            operation: self.name.to_owned(),
            args: self.args.clone(),
            wait: wait.clone(),
            source: self.source.clone(),
        };
        let run = &self.branch.run;
        run.append(vec![entry], beside.into_iter().chain(self.blob.clone()).collect());
        let error = self.branch.halt(Halt::Suspended);
        run.host.observer.waiting(run.id, &self.position, &wait);
        Err(error)
    }

    /// Adds the control's name and the position to an error.
    pub(super) fn stamp(&self, mut error: OpError) -> OpError {
        self.name.clone_into(&mut error.operation);
        error.position = Some(self.position.clone());
        error
    }

    /// Hands a result to the script.
    pub(super) fn finish(
        &self,
        ctx: &NativeCallContext<'_>,
        result: Result<Value, OpError>,
    ) -> Result<Dynamic, Thrown> {
        match result {
            Ok(value) => Ok(to_dynamic(value)),
            Err(error) => Err(to_rhai_error(&error, ctx.call_position())),
        }
    }
}

/// Throws a wrong use of a control, which takes no position: it is the same on each evaluation.
pub(super) fn misuse(ctx: &NativeCallContext<'_>, name: &str, error: OpError) -> Thrown {
    let mut error = error;
    name.clone_into(&mut error.operation);
    to_rhai_error(&error, ctx.call_position())
}
