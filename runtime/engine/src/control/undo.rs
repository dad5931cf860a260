//! `undo(fn)` and `finally(fn)`.

use crate::convert::RhaiResult;
use hob_model::{EntryKind, Value};
use rhai::{Dynamic, FnPtr, FuncRegistration, Module, NativeCallContext};

use super::recorded::Control;
use crate::compensate::{Closure, Compensation};

fn register(ctx: &NativeCallContext<'_>, name: &'static str, body: FnPtr) -> RhaiResult {
    let always = name == "finally";
    let control = Control::enter(ctx, name, Value::Unit)?;
    let recorded = control.record.as_ref().filter(|record| record.compensates).map(|record| record.seq);
    let seq = match recorded {
        Some(seq) => seq,
        None => {
            control.check_end()?;
            let (position, source) = (control.position.clone(), control.source.clone());
            let entry = EntryKind::Compensation { position, operation: name.to_owned(), always, source };
            let seq = control.branch.run.append(vec![entry], vec![]).0;
            control.branch.keep(control.n, |record| {
                record.operation = name.to_owned();
                record.compensates = true;
                record.seq = seq;
            });
            seq
        }
    };
    control.branch.mark_compensates();
    let closure = Closure::capture(ctx, body);
    let compensation =
        Compensation { position: control.position.clone(), seq, closure, argument: None, always };
    control.branch.run.register(compensation);
    Ok(Dynamic::UNIT)
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("undo")
        .set_into_module(module, |ctx: NativeCallContext<'_>, body: FnPtr| register(&ctx, "undo", body));
    FuncRegistration::new("finally")
        .set_into_module(module, |ctx: NativeCallContext<'_>, body: FnPtr| register(&ctx, "finally", body));
}
