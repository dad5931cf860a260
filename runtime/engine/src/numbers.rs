//! What was measured, as the functions of alerts see it; and how these functions are asked.
//!
//! They look at numbers that were measured before, so that a thousand of them cost no more than computing: they are a part
//! of no run, and neither act nor observe.

use std::collections::HashMap;
use std::sync::Arc;

use hob_model::{OpError, Timestamp, Value, duration, names};
use hob_primitive::{Family, Sample};
use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map, Module, NativeCallContext,
};

use crate::branch::DeclaringHandle;
use crate::bundle::Bundle;
use crate::convert::{RhaiResult, to_dynamic, to_rhai_error, to_value};
use crate::declare::{Declared, Declaring};
use crate::evaluate::engine_for;
use crate::history::{History, Over};
use crate::host::Host;
use crate::latch::on_fresh_flag;
use crate::progress::effect_reached;

/// Operations of one function of an alert: a few milliseconds. What goes on longer is cut.
pub const JUDGE_OPERATIONS_MAX: u64 = 200_000;

/// Everything that was measured at one time.
#[derive(Clone)]
pub struct Numbers(Arc<Measured>);

struct Measured {
    at: Timestamp,
    families: HashMap<&'static str, Family>,
    /// The sources that could not be measured.
    down: Vec<String>,
    history: Arc<History>,
}

impl Numbers {
    /// What was measured at `at`, and the sources that could not be; `history` remembers it as far as it is asked for.
    #[must_use]
    pub fn new(at: Timestamp, families: Vec<Family>, down: Vec<String>, history: &Arc<History>) -> Self {
        history.note(at, &families);
        let families = families.into_iter().map(|family| (family.name, family)).collect();
        Self(Arc::new(Measured { at, families, down, history: Arc::clone(history) }))
    }

    fn family(&self, name: &str) -> Result<&Family, OpError> {
        if let Some(family) = self.0.families.get(name) {
            return Ok(family);
        }
        if !self.0.down.is_empty() {
            let down = self.0.down.join(", ");
            let message = format!("`{name}` is not measured now; what cannot be measured now: {down}");
            return Err(OpError::unavailable(message).nothing_happened());
        }
        let missing = OpError::not_found(format!("there are no numbers called `{name}`"));
        Err(match names::nearest(name, self.0.families.keys().copied()) {
            Some(near) => missing.hint(format!("did you mean `{near}`?")),
            None => missing.hint("`hob metrics` shows all of them"),
        })
    }

    /// The numbers of a family that have these labels.
    fn samples(&self, name: &str, labels: &Map) -> Result<impl Iterator<Item = &Sample>, OpError> {
        let wanted = labels
            .iter()
            .map(|(label, value)| {
                let text = value.clone().into_string().map_err(|found| {
                    OpError::invalid(format!("the label `{label}` is a text, and not {found}"))
                })?;
                Ok((label.to_string(), text))
            })
            .collect::<Result<Vec<_>, OpError>>()?;
        let has = move |sample: &&Sample| {
            let is = |(label, value): &(String, String)| {
                sample.labels.iter().any(|(own, it)| own == label && hob_model::pattern::wildcard(value, it))
            };
            wanted.iter().all(is)
        };
        Ok(self.family(name)?.samples.iter().filter(has))
    }

    /// The numbers as scripts see them, each changed by `change`; those for which it gives none are left out.
    fn maps(
        &self,
        name: &str,
        labels: &Map,
        change: impl Fn(&Sample) -> Option<f64>,
    ) -> Result<Array, OpError> {
        let map = |sample: &Sample| Some(told_as(sample, change(sample)?));
        Ok(self.samples(name, labels)?.filter_map(map).collect())
    }

    /// What the numbers were over a window, as scripts see them.
    fn over(&self, over: Over, name: &str, window: &str, labels: &Map) -> Result<Dynamic, OpError> {
        let window =
            duration::parse(window).map_err(|error| OpError::invalid(format!("the window: {error}")))?;
        let (family, samples) = (self.family(name)?, self.samples(name, labels)?);
        let found = self.0.history.over((family, self.0.at), samples, over, window)?;
        Ok(found.into_iter().map(|(sample, value)| told_as(sample, value)).collect::<Array>().into())
    }

    fn value(&self, name: &str, labels: &Map) -> Result<Dynamic, OpError> {
        Ok(self.samples(name, labels)?.next().map_or(Dynamic::UNIT, |sample| sample.value.into()))
    }

    fn all(&self, name: &str, labels: &Map) -> Result<Dynamic, OpError> {
        self.maps(name, labels, |sample| Some(sample.value)).map(Dynamic::from_array)
    }

    fn ratio(&self, name: &str, of: &str, labels: &Map) -> Result<Dynamic, OpError> {
        let whole = self.family(of)?;
        let part = |sample: &Sample| {
            let same = whole.samples.iter().find(|it| it.labels == sample.labels)?;
            Some(sample.value / same.value).filter(|ratio| ratio.is_finite())
        };
        self.maps(name, labels, part).map(Dynamic::from_array)
    }

    fn age(&self, name: &str, labels: &Map) -> Result<Dynamic, OpError> {
        let now = self.0.at.as_duration().as_secs_f64();
        self.maps(name, labels, |sample| Some(now - sample.value)).map(Dynamic::from_array)
    }
}

/// A number as scripts see it: its labels, and `value`.
fn told_as(sample: &Sample, value: f64) -> Dynamic {
    let own = sample.labels.iter().map(|(label, value)| ((*label).into(), value.clone().into()));
    let mut map: Map = own.collect();
    map.insert("value".into(), value.into());
    Dynamic::from_map(map)
}

/// What functions of alerts do with the numbers: `now.value(name)`, `all`, `ratio` and `age`, and over a window `rate`, `delta`
/// and `avg_over`, each also with the labels that are wanted.
pub(crate) fn install(module: &mut Module) {
    for (name, over) in [("rate", Over::Rate), ("delta", Over::Delta), ("avg_over", Over::Average)] {
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>,
                  now: &mut Numbers,
                  family: ImmutableString,
                  window: ImmutableString| {
                told(&ctx, name, now.over(over, &family, &window, &Map::new()))
            },
        );
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>,
                  now: &mut Numbers,
                  family: ImmutableString,
                  window: ImmutableString,
                  labels: Map| { told(&ctx, name, now.over(over, &family, &window, &labels)) },
        );
    }
    type Ask = fn(&Numbers, &str, &Map) -> Result<Dynamic, OpError>;
    let asks: [(&str, Ask); 3] = [("value", Numbers::value), ("all", Numbers::all), ("age", Numbers::age)];
    for (name, ask) in asks {
        let told =
            move |ctx: &NativeCallContext<'_>, answer: Result<Dynamic, OpError>| told(ctx, name, answer);
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, now: &mut Numbers, family: ImmutableString| {
                told(&ctx, ask(now, &family, &Map::new()))
            },
        );
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, now: &mut Numbers, family: ImmutableString, labels: Map| {
                told(&ctx, ask(now, &family, &labels))
            },
        );
    }
    FuncRegistration::new("ratio").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, now: &mut Numbers, family: ImmutableString, of: ImmutableString| {
            told(&ctx, "ratio", now.ratio(&family, &of, &Map::new()))
        },
    );
    FuncRegistration::new("ratio").set_into_module(
        module,
        |ctx: NativeCallContext<'_>,
         now: &mut Numbers,
         family: ImmutableString,
         of: ImmutableString,
         labels: Map| told(&ctx, "ratio", now.ratio(&family, &of, &labels)),
    );
}

fn told(ctx: &NativeCallContext<'_>, name: &str, answer: Result<Dynamic, OpError>) -> RhaiResult {
    answer.map_err(|mut error| {
        name.clone_into(&mut error.operation);
        to_rhai_error(&error, ctx.call_position())
    })
}

/// Asks functions that declarations hold, many times: its engine is made once.
pub struct Judge {
    engine: Engine,
    bundle: Arc<Bundle>,
}

impl Judge {
    /// Asks functions of this bundle.
    #[must_use]
    pub fn new(host: &Host, bundle: &Arc<Bundle>) -> Self {
        let mut engine = engine_for(host, bundle, Dynamic::UNIT);
        engine.set_max_operations(JUDGE_OPERATIONS_MAX);
        Self { engine, bundle: Arc::clone(bundle) }
    }

    /// What the function at `path` gives for what came in, if anything did, and the numbers of now. None where there is no
    /// such function. The calling thread needs a stack of [`SCRIPT_STACK_BYTES`](crate::SCRIPT_STACK_BYTES).
    ///
    /// # Errors
    /// What it throws, that it does not end, and that its value is none that can be written down.
    #[must_use]
    pub fn ask(
        &self,
        declared: &Declared,
        path: &str,
        came: Option<Value>,
        now: &Numbers,
    ) -> Option<Result<Value, OpError>> {
        let function = declared.function(path)?;
        let tag = Dynamic::from(DeclaringHandle(Declaring::refusing(Arc::clone(&self.bundle))));
        let now = Dynamic::from(now.clone());
        let args: Vec<Dynamic> = came.map(to_dynamic).into_iter().chain([now]).collect();
        effect_reached();
        let called = on_fresh_flag(|| function.call(&self.engine, tag, &args));
        // A function turned into text by the very last operation is noticed here, and not by the next one that is asked.
        let called = match crate::language::interruption() {
            Some(token) => Err(Box::new(EvalAltResult::ErrorTerminated(token, rhai::Position::NONE))),
            None => called,
        };
        Some(called.map_err(|error| crate::diagnose::error_value(&error)).and_then(|value| to_value(&value)))
    }
}
