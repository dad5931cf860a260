//! `log::…` and `print`: lines with a counter of their own, recorded once and silent on replay.

use crate::convert::RhaiResult;
use hob_model::{EntryKind, Source, Value};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext};

use crate::branch::{BranchCx, branch_of, current, source_of};
use crate::request::call_text;
use crate::run_cx::Mode;

/// The most bytes of one line of the log; longer ones are cut.
pub(super) const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// Writes one line to the log of the run.
fn write(
    ctx: &NativeCallContext<'_>,
    level: &'static str,
    message: &Dynamic,
) -> Result<(), Box<EvalAltResult>> {
    let branch = branch_of(ctx, "log")?;
    branch.check()?;
    let text = match message.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) => match crate::convert::to_value(message) {
            Ok(Value::Secret(secret)) => secret.to_string(),
            Ok(value) => call_text("", &[value]).trim_start_matches('(').trim_end_matches(')').to_owned(),
            Err(_) => message.type_name().to_owned(),
        },
    };
    line(&branch, level, text, source_of(ctx));
    Ok(())
}

/// What `print` writes: a line of level `info`.
pub(crate) fn print(text: &str) {
    if let Some(branch) = current().filter(|branch| branch.latch.get().is_none()) {
        line(&branch, "info", text.to_owned(), Source::default());
    }
}

/// Records a line, once.
fn line(branch: &BranchCx, level: &str, mut text: String, source: Source) {
    let Some(number) = branch.next_log() else { return };
    if branch.run.mode == Mode::Verify {
        return;
    }
    if let std::borrow::Cow::Owned(shown) = crate::secret::shown(&text) {
        text = shown;
    }
    if text.len() > LOG_LINE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
        text.push('…');
    }
    branch.keep_log(number);
    let entry = EntryKind::Log {
        branch: branch.position.clone(),
        number,
        level: level.to_owned(),
        message: text.clone(),
        source,
    };
    branch.run.append(vec![entry], vec![]);
    // Whoever hears of a line finds it in the journal.
    branch.run.host.observer.log(branch.run.id, level, &text);
}

pub(super) fn module() -> Module {
    let mut module = Module::new();
    for level in ["debug", "info", "warn", "error"] {
        FuncRegistration::new(level).set_into_module(
            &mut module,
            move |ctx: NativeCallContext<'_>, message: Dynamic| -> RhaiResult {
                write(&ctx, level, &message).map(|()| Dynamic::UNIT)
            },
        );
    }
    module
}
