//! `invoke(workflow, input)`: another run, and its value.

use hob_journal::Write;
use hob_model::{Entry, EntryKind, OpError, Value, Wait};
use rhai::{Dynamic, FuncRegistration, ImmutableString, Module, NativeCallContext};

use super::recorded::{Control, misuse};
use crate::convert::{RhaiResult, to_value};

/// The child's id is a hash of this position, and it starts in one commit with the wait for it: it is there exactly
/// once.
fn invoke(ctx: NativeCallContext<'_>, name: ImmutableString, input: Dynamic) -> RhaiResult {
    let input = to_value(&input).map_err(|error| misuse(&ctx, "invoke", error))?;
    let control =
        Control::enter(&ctx, "invoke", Value::Array(vec![Value::from(name.as_str()), input.clone()]))?;
    let run = &control.branch.run;
    control.wait(&ctx, || {
        if run.mode == crate::run_cx::Mode::Dry {
            return Err(OpError::invalid("a dry run does not start other workflows")
                .hint("dry-run the workflow itself"));
        }
        // `runs retry` asks for another run: the first one has ended, and its id stands for it.
        let child = match control.record.as_ref().map_or(0, |record| record.reopened) {
            0 => run.id.child(&control.position),
            attempt => run.id.child(&control.position.effect(attempt)),
        };
        let mut started = run.host.observer.workflow(&run.started, &name, input)?;
        started.parent = Some((run.id, control.position.clone()));
        let entry = Entry { seq: 0, at: run.now(), kind: EntryKind::Started(started) };
        Ok((Wait::Run(child), vec![Write::Entry(child, entry)]))
    })
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("invoke").set_into_module(module, invoke);
    FuncRegistration::new("invoke")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString| {
            invoke(ctx, name, Dynamic::UNIT)
        });
}
