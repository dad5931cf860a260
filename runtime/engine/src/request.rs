//! Reading a call: positional arguments, the operation's own options, and those that every effect takes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hob_journal::Write;
use hob_model::{EffectClass, OnDoubt, OpError, Payload, Value};
use hob_primitive::{Args, FromValue, OPTION_DETAIL, Operation, OptionMap, Param, resolve};
use rhai::{Dynamic, FnPtr, Map};

use crate::convert::to_value;
use crate::run_cx::RunCx;

/// The options that every effect takes beside its own.
pub const COMMON_OPTIONS: [(&str, &str); 6] = [
    ("timeout", "how long it may take: \"30s\""),
    ("retry", "attempts after transient failures: 3, or #{ attempts: 5, backoff: \"1s\", max: \"1m\" }"),
    ("undo", "a closure that undoes it when the run fails: |result| …"),
    ("on_doubt", "what to do when a crash leaves its outcome unknown: ask, retry, skip or fail"),
    ("class", "another effect class for this call: \"once\" for a server that acts on GET"),
    ("idempotent", "true: doing it twice is harmless, so it is done again when its outcome is unknown"),
];

/// How often, and with which pauses, a transient failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// How many attempts in all, at least one.
    pub attempts: u32,
    /// The pause after the first failure; it doubles.
    pub backoff: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_millis(200), max: Duration::from_secs(5) }
    }
}

/// The most attempts that may be asked for.
pub const ATTEMPTS_MAX: u32 = 1_000;

impl Attempts {
    /// Reads `3` or `#{ attempts, backoff, max }`.
    pub(crate) fn read(value: Value) -> Result<Self, OpError> {
        let mut it = Self::default();
        match value {
            Value::Unit => return Ok(it),
            Value::Int(_) => it.attempts = read_as(value, "retry")?,
            Value::Map(map) => {
                let mut map = OptionMap::new(map);
                it.attempts = map.take::<Option<u32>>("attempts")?.unwrap_or(it.attempts);
                it.backoff = map.take::<Option<Duration>>("backoff")?.unwrap_or(it.backoff);
                it.max = map.take::<Option<Duration>>("max")?.unwrap_or(it.max.max(it.backoff));
                map.read::<hob_primitive::NoOptions>()?;
            }
            other => {
                return Err(OpError::invalid(format!(
                    "option `retry`: expected int or map, got {}",
                    other.type_name()
                ))
                .detail(OPTION_DETAIL, "retry"));
            }
        }
        if it.attempts == 0 || it.attempts > ATTEMPTS_MAX {
            return Err(OpError::invalid(format!("{} attempts: expected 1 to {ATTEMPTS_MAX}", it.attempts)));
        }
        Ok(it)
    }

    /// The pause after the n-th failure (from 1): exponential, capped, with a jitter of up to a quarter that depends
    /// only on `key`, so that replays and neighbours do not march in step.
    pub(crate) fn pause(&self, failures: u32, key: &str) -> Duration {
        let doubled =
            self.backoff.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let capped = doubled.min(self.max);
        let digest = hob_model::Digest::of(format!("{key}/{failures}").as_bytes());
        capped - capped.mul_f64(f64::from(digest.0[0]) / 1024.0)
    }
}

/// A call as data.
pub(crate) struct Request {
    positional: Vec<Value>,
    options: BTreeMap<String, Value>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempts: Option<Attempts>,
    pub(crate) undo: Option<FnPtr>,
    pub(crate) on_doubt: Option<OnDoubt>,
    pub(crate) class: EffectClass,
    /// All of it but the closure: what a replay compares.
    pub(crate) payload: Payload,
    pub(crate) blob: Option<Write>,
}

fn read_as<T: FromValue>(value: Value, key: &str) -> Result<T, OpError> {
    OptionMap::new(BTreeMap::from([(key.to_owned(), value)])).take(key)
}

impl Request {
    /// Reads the arguments of a call of `operation`. They are only looked at: Rhai lends a variable that is the first
    /// argument, rather than copy it.
    pub(crate) fn read(operation: &Operation, args: &[&mut Dynamic]) -> Result<Self, OpError> {
        let (mut undo, mut options, mut args) = (None, BTreeMap::new(), args);
        if options_come_last(operation, args)
            && let Some((last, others)) = args.split_last()
        {
            args = others;
            let map = last.read_lock::<Map>();
            for (key, value) in map.iter().flat_map(|map| map.iter()) {
                if key == "undo" {
                    undo = Some(value.clone().try_cast::<FnPtr>().ok_or_else(|| {
                        OpError::invalid("option `undo`: expected a closure")
                            .hint("write undo: |result| …")
                            .detail(OPTION_DETAIL, "undo")
                    })?);
                    continue;
                }
                options.insert(
                    key.to_string(),
                    to_value(value).map_err(|e| under(e, &format!("option `{key}`")))?,
                );
            }
        }
        let mut positional = Vec::with_capacity(args.len());
        for (at, arg) in args.iter().enumerate() {
            let name = operation.params.get(at).map_or("?", |param| param.name);
            positional.push(to_value(arg).map_err(|e| under(e, &format!("argument {} (`{name}`)", at + 1)))?);
        }
        let mut all = positional.clone();
        if !options.is_empty() {
            all.push(Value::Map(options.clone()));
        }
        let (payload, blob) = RunCx::payload(&Value::Array(all));
        let mut request = Self {
            positional,
            options,
            timeout: operation.timeout.and_then(|text| hob_model::duration::parse(text).ok()),
            attempts: None,
            undo,
            on_doubt: None,
            class: operation.class,
            payload,
            blob,
        };
        request.read_common(operation)?;
        Ok(request)
    }

    /// Takes the common options out of the map; those that the operation declares itself stay its own.
    fn read_common(&mut self, operation: &Operation) -> Result<(), OpError> {
        let own = |key: &str| operation.options.iter().any(|spec| spec.key == key);
        let mut take = |key: &str| if own(key) { None } else { self.options.remove(key) };
        if let Some(value) = take("timeout") {
            self.timeout = Some(read_as(value, "timeout")?);
        }
        if let Some(value) = take("retry") {
            self.attempts = Some(Attempts::read(value)?);
        }
        if let Some(value) = take("on_doubt") {
            let text: String = read_as(value, "on_doubt")?;
            let parsed = OnDoubt::parse(&text);
            self.on_doubt = Some(parsed.ok_or_else(|| {
                OpError::invalid(format!("option `on_doubt`: \"{text}\" is none of ask, retry, skip, fail"))
                    .detail(OPTION_DETAIL, "on_doubt")
            })?);
        }
        if take("idempotent") == Some(Value::Bool(true)) && self.class == EffectClass::Once {
            self.class = EffectClass::Ensure;
        }
        if let Some(value) = take("class") {
            self.class = chosen_class(operation, &read_as::<String>(value, "class")?)?;
        }
        if self.undo.is_some() && !self.class.acts() {
            return Err(OpError::invalid(format!("option `undo`: {} does not act", operation.name))
                .detail(OPTION_DETAIL, "undo"));
        }
        Ok(())
    }

    /// The arguments for the operation.
    pub(crate) fn args(&self) -> Args {
        Args::new(self.positional.clone(), self.options.clone())
    }

    /// The permissions that this call needs, one for each word of the operation's template.
    pub(crate) fn needs(&self, operation: &Operation, cwd: &Path) -> Vec<String> {
        needs(operation, &self.positional, cwd)
    }

    /// The call as a person would write it, for dry runs and differences.
    pub(crate) fn text(&self, operation: &str) -> String {
        let mut all = self.positional.clone();
        if !self.options.is_empty() {
            all.push(Value::Map(self.options.clone()));
        }
        call_text(operation, &all)
    }
}

/// The permissions that a call with these positional arguments needs, one for each word of the operation's template.
/// `()` stands for what is not known; it needs `*`. Relative paths start at `cwd`.
#[must_use]
pub fn needs(operation: &Operation, positional: &[Value], cwd: &Path) -> Vec<String> {
    let Some(template) = operation.permission else {
        return vec![operation.name.replace("::", ".")];
    };
    template.split(' ').flat_map(|word| fill(word, operation, positional, cwd)).collect()
}

/// One word of a template, once for each item where its parameter is a list. It is filled in one go, so that the text
/// of an argument is never read as a placeholder.
fn fill(word: &str, operation: &Operation, positional: &[Value], cwd: &Path) -> Vec<String> {
    let whole = || vec![word.to_owned()];
    let Some((before, rest)) = word.split_once('{') else { return whole() };
    let Some((place, after)) = rest.split_once('}') else { return whole() };
    let (name, part) = match place.split_once('.') {
        Some((name, "host")) => (name, Part::Host),
        Some((name, "full")) => (name, Part::Unit),
        Some((name, _)) => (name, Part::Program),
        None => (place, Part::Whole),
    };
    let Some(at) = operation.params.iter().position(|param| param.name == name) else { return whole() };
    let value = positional.get(at).unwrap_or(&Value::Unit);
    let parts = part.of(value, &operation.params[at], cwd);
    parts.into_iter().map(|part| format!("{before}{part}{after}")).collect()
}

/// A call as a person would write it, shortened.
pub(crate) fn call_text(operation: &str, args: &[Value]) -> String {
    const SHOWN_CHARS_MAX: usize = 120;
    let shown = |value: &Value| match value.to_json() {
        Ok(json) if json.is_object() => format!("#{json}"),
        Ok(json) => json.to_string(),
        Err(_) => format!("{value:?}"),
    };
    let args: Vec<String> = args
        .iter()
        .map(|arg| {
            let text = shown(arg);
            if text.chars().count() > SHOWN_CHARS_MAX {
                text.chars().take(SHOWN_CHARS_MAX).chain("…".chars()).collect()
            } else {
                text
            }
        })
        .collect();
    format!("{operation}({})", args.join(", "))
}

/// Which part of an argument a permission names.
#[derive(Clone, Copy)]
enum Part {
    /// All of it; a path is made absolute first.
    Whole,
    /// The host of an address: `{url.host}`.
    Host,
    /// The program of a command: `{cmd.program}`.
    Program,
    /// The full name of a systemd unit, where a text without a dot names a service: `{unit.full}`.
    Unit,
}

impl Part {
    fn of(self, value: &Value, param: &Param, cwd: &Path) -> Vec<String> {
        // What cannot be told is the widest need, which only a grant without an argument covers.
        const UNKNOWN: &str = "*";
        let one = |text: &str| match self {
            Self::Whole if param.is_path => resolve(cwd, text).display().to_string(),
            Self::Unit if !text.contains('.') => format!("{text}.service"),
            Self::Whole | Self::Program | Self::Unit => text.to_owned(),
            Self::Host => {
                let host = url::Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned));
                host.unwrap_or_else(|| UNKNOWN.to_owned())
            }
        };
        match (self, value) {
            (Self::Program, Value::String(line)) => {
                let words = shlex::split(line).unwrap_or_default();
                vec![words.into_iter().next().unwrap_or_else(|| UNKNOWN.to_owned())]
            }
            (Self::Program, Value::Array(words)) => {
                vec![words.first().and_then(Value::as_str).unwrap_or(UNKNOWN).to_owned()]
            }
            (_, Value::String(text)) => vec![one(text)],
            (_, Value::Array(items)) if !items.is_empty() => {
                items.iter().map(|item| item.as_str().map_or_else(|| UNKNOWN.to_owned(), one)).collect()
            }
            (_, Value::Int(n)) => vec![n.to_string()],
            _ => vec![UNKNOWN.to_owned()],
        }
    }
}

fn under(mut error: OpError, place: &str) -> OpError {
    error.message = format!("{place}: {}", error.message);
    error
}

/// Whether the last argument is the option map rather than a positional one.
fn options_come_last(operation: &Operation, args: &[&mut Dynamic]) -> bool {
    let Some(last) = args.last() else { return false };
    if !last.is_map() || !operation.takes_options() {
        return false;
    }
    match operation.params.get(args.len() - 1) {
        None => true,
        Some(param) => param.optional && !matches!(param.kind, "map" | "any"),
    }
}

/// The class that the script asks for. A call may be raised to any stricter class; it is lowered by `idempotent`.
fn chosen_class(operation: &Operation, text: &str) -> Result<EffectClass, OpError> {
    let class = EffectClass::parse(text).filter(|class| *class != EffectClass::Pure);
    let class = class.ok_or_else(|| {
        OpError::invalid(format!("option `class`: \"{text}\" is none of observe, ensure, once"))
            .detail(OPTION_DETAIL, "class")
    })?;
    if class == EffectClass::Keyed && operation.keyed.is_none() {
        return Err(OpError::invalid(format!(
            "option `class`: {} cannot be probed, so it cannot be keyed",
            operation.name
        ))
        .detail(OPTION_DETAIL, "class"));
    }
    if class < operation.class {
        return Err(OpError::invalid(format!(
            "option `class`: {} is {}, which is stricter",
            operation.name, operation.class
        ))
        .hint("say idempotent: true if doing it twice is harmless")
        .detail(OPTION_DETAIL, "class"));
    }
    Ok(class)
}
