//! `sleep`, `sleep_until`, `wait_for`, `wait_signal`, `approve`.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_journal::Write;
use hob_model::event::APPROVAL_ASKED;
use hob_model::{Approval, OpError, Timestamp, Value, Wait, duration};
use hob_primitive::OptionMap;
use rhai::{Dynamic, FuncRegistration, ImmutableString, Map, Module, NativeCallContext};

use super::recorded::{Control, misuse};
use crate::convert::{RhaiResult, to_dynamic, to_value};

/// The options of waits: a time limit, for events a filter, for approvals whether the comment is wanted too and which channel
/// is told.
struct WaitOptions {
    timeout: Option<Duration>,
    filter: BTreeMap<String, Value>,
    details: bool,
    notify: Option<String>,
}

fn read_options(
    ctx: &NativeCallContext<'_>,
    name: &str,
    map: Map,
) -> Result<(WaitOptions, Value), Box<rhai::EvalAltResult>> {
    let read = || {
        let value = to_value(&Dynamic::from_map(map))?;
        let Value::Map(pairs) = value.clone() else {
            return Err(OpError::invalid("expected a map of options"));
        };
        let mut options = OptionMap::new(pairs);
        let timeout = options.take("timeout")?;
        let filter = if name == "wait_for" {
            options.take::<Option<_>>("where")?.unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        let (details, notify) = match name {
            "approve" => {
                (options.take::<Option<bool>>("details")?.unwrap_or_default(), options.take("notify")?)
            }
            _ => (false, None),
        };
        options.read::<hob_primitive::NoOptions>()?;
        Ok((WaitOptions { timeout, filter, details, notify }, value))
    };
    read().map_err(|error| misuse(ctx, name, error))
}

fn later(now: Timestamp, duration: Duration) -> Result<Timestamp, OpError> {
    now.checked_add(duration).map_err(|_| OpError::invalid("that time is past the end of the calendar"))
}

fn deadline(now: Timestamp, options: &WaitOptions) -> Result<Option<Timestamp>, OpError> {
    options.timeout.map(|timeout| later(now, timeout)).transpose()
}

fn sleep(ctx: NativeCallContext<'_>, text: ImmutableString) -> RhaiResult {
    let control = Control::enter(&ctx, "sleep", Value::Array(vec![Value::from(text.as_str())]))?;
    let run = &control.branch.run;
    control.wait(&ctx, || {
        let duration = duration::parse(&text).map_err(|error| OpError::invalid(error.to_string()))?;
        Ok((Wait::Until(later(run.now(), duration)?), vec![]))
    })
}

fn sleep_until(ctx: NativeCallContext<'_>, text: ImmutableString) -> RhaiResult {
    let control = Control::enter(&ctx, "sleep_until", Value::Array(vec![Value::from(text.as_str())]))?;
    control.wait(&ctx, || {
        let at: Timestamp = text.parse().map_err(|_| {
            OpError::invalid(format!("`{text}` is no time"))
                .hint("write RFC 3339 with an offset: \"2027-01-01T08:00:00+01:00\"")
        })?;
        Ok((Wait::Until(at), vec![]))
    })
}

fn wait_signal(ctx: NativeCallContext<'_>, name: ImmutableString, options: Map) -> RhaiResult {
    let (options, given) = read_options(&ctx, "wait_signal", options)?;
    let control = Control::enter(&ctx, "wait_signal", Value::Array(vec![Value::from(name.as_str()), given]))?;
    let run = &control.branch.run;
    control.wait(&ctx, || {
        Ok((Wait::Signal { name: name.to_string(), deadline: deadline(run.now(), &options)? }, vec![]))
    })
}

fn approve(ctx: NativeCallContext<'_>, prompt: ImmutableString, options: Map) -> RhaiResult {
    let (options, given) = read_options(&ctx, "approve", options)?;
    let control = Control::enter(&ctx, "approve", Value::Array(vec![Value::from(prompt.as_str()), given]))?;
    let run = &control.branch.run;
    let given = control.wait(&ctx, || {
        if let Some(channel) = &options.notify {
            let need = format!("notify.send:{channel}");
            if !run.permissions.permits(&need) {
                let error = OpError::denied(format!("this run may not do `{need}`")).retryable(false);
                return Err(error.hint(format!("grant it with --allow '{need}'")));
            }
        }
        let asked = options.notify.as_ref().map(|channel| asked(&control, &prompt, channel));
        let deadline = deadline(run.now(), &options)?;
        Ok((Wait::Approval { prompt: prompt.to_string(), deadline }, asked.into_iter().collect()))
    })?;
    let answer = Approval::of(&to_value(&given).unwrap_or_default());
    Ok(if options.details { to_dynamic(answer.to_value()) } else { answer.approved.into() })
}

/// The event that has a channel told of an approval that is waited for.
fn asked(control: &Control, prompt: &str, channel: &str) -> Write {
    let run = &control.branch.run;
    let payload = Value::map([
        ("run", Value::from(run.id.to_string())),
        ("name", run.started.name.as_str().into()),
        ("position", control.position.to_string().into()),
        ("prompt", prompt.into()),
        ("channel", channel.into()),
    ]);
    Write::Event {
        name: APPROVAL_ASKED.to_owned(),
        payload,
        origin: format!("run:{}", run.id),
        at: run.now(),
    }
}

fn wait_for(ctx: NativeCallContext<'_>, pattern: ImmutableString, options: Map) -> RhaiResult {
    let (options, given) = read_options(&ctx, "wait_for", options)?;
    let control = Control::enter(&ctx, "wait_for", Value::Array(vec![Value::from(pattern.as_str()), given]))?;
    let (run, after) = (&control.branch.run, control.branch.event_mark());
    control.wait(&ctx, || {
        let filter = Value::Map(options.filter.clone());
        Ok((
            Wait::Event {
                pattern: pattern.to_string(),
                filter,
                after,
                deadline: deadline(run.now(), &options)?,
            },
            vec![],
        ))
    })
}

/// Registers `name` with one text and with a text and options.
macro_rules! with_options {
    ($module:expr, $name:literal, $function:ident) => {
        FuncRegistration::new($name)
            .set_into_module($module, |ctx: NativeCallContext<'_>, text: ImmutableString| {
                $function(ctx, text, Map::new())
            });
        FuncRegistration::new($name).set_into_module($module, $function);
    };
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("sleep").set_into_module(module, sleep);
    FuncRegistration::new("sleep_until").set_into_module(module, sleep_until);
    with_options!(module, "wait_signal", wait_signal);
    with_options!(module, "wait_for", wait_for);
    with_options!(module, "approve", approve);
}
