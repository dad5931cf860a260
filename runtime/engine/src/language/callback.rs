//! Calling a script's closure from native code.
//!
//! Rhai finds out how many parameters a closure takes by calling it and looking whether that was "not found", for
//! each element anew; an error of that kind from inside the closure is then taken for its own. Here the closure's
//! definition is looked up once, and only a function that has none (a native one given by name) is tried.

use hob_model::OpError;
use rhai::{Dynamic, EvalAltResult, FnPtr, Module, NativeCallContext};

use crate::convert::to_rhai_error;

/// What an evaluation gives.
type RhaiResult = Result<Dynamic, Box<EvalAltResult>>;

/// How many parameters, captured variables included, a definition is looked for with.
const PARAMS_MAX: usize = 32;

/// Calls `function` with as many of `args` as it takes; one without parameters finds the first of them in `this`.
///
/// Errors are handed on with nothing but the frames of the script's own calls around them, which the call trace of a
/// diagnostic is made of and `catch` looks through. What a script cannot catch has no frames, and stays so.
///
/// # Errors
/// Those of the closure, and an invalid argument when it takes more parameters than there are `args`.
pub fn call_flexible(ctx: &NativeCallContext<'_>, function: &FnPtr, args: &[Dynamic]) -> RhaiResult {
    Callback::new(ctx, function, args.len()).call(args)
}

/// A closure, its definition looked up once for many calls.
#[derive(Debug)]
pub struct Callback<'a, 'e> {
    ctx: &'a NativeCallContext<'e>,
    function: &'a FnPtr,
    /// How many parameters it takes beside what it captured; none when it has no definition in the script.
    params: Option<usize>,
}

impl<'a, 'e> Callback<'a, 'e> {
    /// `function`, to be called with up to `offered` arguments; of overloads, the one that takes most of them.
    #[must_use]
    pub fn new(ctx: &'a NativeCallContext<'e>, function: &'a FnPtr, offered: usize) -> Self {
        let beyond = offered + 1..=PARAMS_MAX;
        let params = definition(ctx, function, (0..=offered).rev().chain(beyond));
        Self { ctx, function, params }
    }

    /// `function`, to be called on items, the item being the argument at `item_at` of up to `offered`; of overloads,
    /// the one that Rhai's array functions would take.
    #[must_use]
    pub fn on_items(
        ctx: &'a NativeCallContext<'e>,
        function: &'a FnPtr,
        item_at: usize,
        offered: usize,
    ) -> Self {
        let order = (item_at..=offered).chain((0..item_at).rev()).chain(offered + 1..=PARAMS_MAX);
        let params = definition(ctx, function, order);
        Self { ctx, function, params }
    }

    /// How many parameters it takes beside what it captured; `None` when it is not a function of the script.
    #[must_use]
    pub fn params(&self) -> Option<usize> {
        self.params
    }

    /// Calls it with as many of `args` as it takes; one without parameters finds the first of them in `this`.
    ///
    /// # Errors
    /// Those of the closure, in the frames of its calls, and an invalid argument when it takes more than `args`.
    pub fn call(&self, args: &[Dynamic]) -> RhaiResult {
        self.with_count(args.len(), (0..=args.len()).rev(), |count| match args.first() {
            Some(first) if count == 0 => self.raw(Some(&mut first.clone()), Vec::new()),
            _ => self.raw(None, args[..count].to_vec()),
        })
    }

    /// Calls it with `this` bound and as many of `args` as it takes.
    ///
    /// # Errors
    /// As [`Callback::call`].
    pub fn call_bound(&self, this: &mut Dynamic, args: &[Dynamic]) -> RhaiResult {
        self.with_count(args.len(), 0..=args.len(), |count| self.raw(Some(this), args[..count].to_vec()))
    }

    /// Calls it on `item`: with as many of `others` as it takes, `item` coming in at `item_at`; when it takes no more
    /// than `item_at` parameters, `item` is its `this` and may be changed.
    ///
    /// # Errors
    /// As [`Callback::call`].
    pub fn call_on(&self, item: &mut Dynamic, item_at: usize, others: &[Dynamic]) -> RhaiResult {
        let offered = others.len() + 1;
        self.with_count(offered, item_at..=offered, |count| {
            if count <= item_at {
                return self.raw(Some(item), others[..count].to_vec());
            }
            let mut args = others[..count - 1].to_vec();
            args.insert(item_at, item.clone());
            self.raw(None, args)
        })
    }

    /// Calls with the number of arguments that the definition takes, or with each of `attempts` until one is found.
    fn with_count(
        &self,
        offered: usize,
        attempts: impl Iterator<Item = usize>,
        mut call: impl FnMut(usize) -> RhaiResult,
    ) -> RhaiResult {
        match self.params {
            Some(count) if count <= offered => return call(count),
            Some(count) => return Err(self.takes_too_many(count, offered)),
            None => {}
        }
        let mut missing = None;
        for count in attempts {
            match call(count) {
                Err(error) if self.is_missing(&error) => missing = Some(error),
                result => return result,
            }
        }
        Err(missing.expect("there is at least one attempt, and it ended in an error"))
    }

    fn raw(&self, this: Option<&mut Dynamic>, args: Vec<Dynamic>) -> RhaiResult {
        self.function.call_raw(self.ctx, this, args)
    }

    /// Whether `error` says that the function itself is not there. What a body reports comes inside of a frame.
    fn is_missing(&self, error: &EvalAltResult) -> bool {
        matches!(error, EvalAltResult::ErrorFunctionNotFound(signature, _)
            if signature.strip_prefix(self.function.fn_name()).is_some_and(|rest| rest.is_empty() || rest.starts_with(" (")))
    }

    fn takes_too_many(&self, count: usize, offered: usize) -> Box<EvalAltResult> {
        let caller = self.ctx.fn_name();
        let error = OpError::invalid(format!("the function given to `{caller}` takes {count} parameters"))
            .hint(format!("`{caller}` gives it at most {offered}"));
        to_rhai_error(&error, self.ctx.call_position())
    }
}

/// The first of `counts` that the script defines `function` with, captured variables not counted.
fn definition(
    ctx: &NativeCallContext<'_>,
    function: &FnPtr,
    counts: impl Iterator<Item = usize>,
) -> Option<usize> {
    let captured = function.curry().len();
    let name = function.fn_name();
    let defines = |module: &Module, count| module.get_script_fn(name, captured + count).is_some();
    counts.into_iter().find(|count| {
        ctx.iter_namespaces().any(|module| defines(module, *count))
            || ctx.iter_imports().any(|(_, module)| defines(module, *count))
    })
}
