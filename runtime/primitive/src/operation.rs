//! Operations and primitives as data.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use hob_model::{EffectClass, OpError, Value};

use crate::{Args, Ctx, OptionSpec};

/// What asynchronous work returns.
pub type BoxFuture<T = Value> = Pin<Box<dyn Future<Output = Result<T, OpError>> + Send>>;

/// A function that is called with the arguments and blocks until it is done.
pub type BlockingFn = fn(&Ctx, Args) -> Result<Value, OpError>;

/// How an operation is carried out.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Computes; called directly, not journaled.
    Pure(fn(Args) -> Result<Value, OpError>),
    /// Blocks the calling script's thread.
    Blocking(BlockingFn),
    /// Runs on the async core while the script's thread waits.
    Async(fn(Ctx, Args) -> BoxFuture),
}

/// What a probe of the world says about a `keyed` effect whose outcome is unknown.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// It happened, and this is its outcome.
    Done(Value),
    /// It happened, and failed like this.
    Failed(OpError),
    /// It did not happen: it may be done again.
    NotDone,
    /// The world cannot tell; a person must.
    Unknown(String),
}

/// A look at the world beside an operation.
pub enum Look<T> {
    /// Blocks the calling script's thread.
    Blocking(fn(&Ctx, Args) -> Result<T, OpError>),
    /// Runs on the async core while the script's thread waits.
    Async(fn(Ctx, Args) -> BoxFuture<T>),
}

impl<T> Clone for Look<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Look<T> {}

/// What makes an operation `keyed`.
#[derive(Clone, Copy)]
pub struct Keyed {
    /// Notes what the probe will need, before the intent is journaled; its value is [`Ctx::noted`] afterwards.
    pub intent: Option<Look<Value>>,
    /// Looks whether the effect with this key, arguments and note happened.
    pub probe: Look<Probe>,
}

/// A positional parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in help and messages.
    pub name: &'static str,
    /// Its type, as scripts see it.
    pub kind: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it is a path, made absolute for permissions.
    pub is_path: bool,
}

/// One operation: everything hob knows about it comes from here.
#[derive(Clone)]
pub struct Operation {
    /// The full name: `files::write`.
    pub name: &'static str,
    /// What may be done when its outcome is unknown.
    pub class: EffectClass,
    /// Markdown: a first sentence for lists, then why it has its class, then examples as `rhai` blocks.
    pub doc: &'static str,
    /// Positional parameters.
    pub params: Vec<Param>,
    /// Keys of its option map.
    pub options: &'static [OptionSpec],
    /// What it gives, as scripts see it.
    pub returns: &'static str,
    /// What it needs, one word or more: `files.read:{from} files.write:{to}`, where `{…}` is a parameter, of which
    /// `{url.host}`, `{cmd.program}` and `{unit.full}` are parts. `None`: `PRIMITIVE.OPERATION`.
    pub permission: Option<&'static str>,
    /// How long it may take unless the call says otherwise: `"30s"`. `None`: as long as it takes.
    pub timeout: Option<&'static str>,
    /// How long past its timeout or a cancel an async operation may take to end what it started, before its caller
    /// drops it: `"15s"`. `None`: it is dropped at once.
    pub grace: Option<&'static str>,
    /// What becomes of a `once` effect whose outcome a crash left unknown, unless the call says otherwise: `"retry"`. `None`:
    /// what holds for the run.
    pub on_doubt: Option<&'static str>,
    /// What a dry run gives instead of acting; without one it gives `()` and says so.
    pub model: Option<BlockingFn>,
    /// For `keyed` operations.
    pub keyed: Option<Keyed>,
    /// How it is carried out.
    pub handler: Handler,
}

impl Operation {
    /// An operation with the defaults for what an attribute may set.
    #[must_use]
    pub fn new(
        name: &'static str,
        class: EffectClass,
        doc: &'static str,
        params: Vec<Param>,
        options: &'static [OptionSpec],
        handler: Handler,
    ) -> Self {
        Self {
            name,
            class,
            doc,
            params,
            options,
            returns: "any",
            permission: None,
            timeout: None,
            grace: None,
            on_doubt: None,
            model: None,
            keyed: None,
            handler,
        }
    }

    /// The fewest positional arguments.
    #[must_use]
    pub fn arity_min(&self) -> usize {
        self.params.iter().filter(|param| !param.optional).count()
    }

    /// The most arguments: the positional ones and an option map.
    #[must_use]
    pub fn arity_max(&self) -> usize {
        self.params.len() + usize::from(self.takes_options())
    }

    /// Whether a last map is read as options. Every effect takes the common ones (`timeout`, `retry`, …).
    #[must_use]
    pub fn takes_options(&self) -> bool {
        self.class != EffectClass::Pure || !self.options.is_empty()
    }

    /// Tells the option map from the positional values of a call.
    ///
    /// The last value is the options when it is a map and stands past the parameters, or where an optional parameter
    /// stands that takes no map.
    #[must_use]
    pub fn read_args(&self, mut values: Vec<Value>) -> Args {
        let last = values.len().saturating_sub(1);
        let takes_map = |param: &Param| !param.optional || param.kind.contains("map") || param.kind == "any";
        let is_options = matches!(values.last(), Some(Value::Map(_)))
            && self.takes_options()
            && !self.params.get(last).is_some_and(takes_map);
        match is_options.then(|| values.pop()).flatten() {
            Some(Value::Map(options)) => Args::new(values, options),
            _ => Args::new(values, BTreeMap::new()),
        }
    }

    /// The first sentence of its documentation.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.doc.split("\n\n").next().unwrap_or("")
    }

    /// `files::write(path, content, [options]) -> map`
    #[must_use]
    pub fn signature(&self) -> String {
        let shown = |param: &Param| match param.optional {
            true => format!("[{}: {}]", param.name, param.kind),
            false => format!("{}: {}", param.name, param.kind),
        };
        let mut params: Vec<String> = self.params.iter().map(shown).collect();
        if self.takes_options() {
            params.push("[options: map]".to_owned());
        }
        format!("{}({}) -> {}", self.name, params.join(", "), self.returns)
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.signature(), self.class)
    }
}

/// A namespace of operations for one kind of thing.
#[derive(Clone, Debug)]
pub struct Primitive {
    /// `files`, or `containers::images` for a part of one.
    pub name: &'static str,
    /// Markdown: what it is for.
    pub doc: &'static str,
    /// Its operations, in the order of declaration.
    pub operations: Vec<Operation>,
}
