//! Inputs that are evaluated one after the other, each with the variables and functions of those before it: of a
//! session, and of a look into an old run.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::Diagnostic;
use hob_primitive::Registry;
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};

use crate::bundle::Bundle;
use crate::diagnose::{Scripts, eval_error};

/// The variable that holds the value of the last input that had one.
pub const LAST: &str = "last";

/// The name that the n-th input, from 1, has as a source.
#[must_use]
pub fn input_name(number: usize) -> String {
    format!("input {number}")
}

/// Why an input came to nothing.
pub(crate) struct Failed {
    /// The error itself.
    pub(crate) error: Box<EvalAltResult>,
    /// What people are told of it.
    pub(crate) diagnostic: Diagnostic,
}

/// What the inputs so far left behind.
pub(crate) struct Inputs {
    bundle: Arc<Bundle>,
    scope: Scope<'static>,
    /// The functions and closures of all inputs.
    functions: AST,
    /// The inputs, by the name they have as a source.
    texts: BTreeMap<String, Arc<str>>,
}

impl Inputs {
    /// None so far; the first sees `functions`.
    pub(crate) fn new(bundle: Arc<Bundle>, functions: AST) -> Self {
        let mut scope = Scope::new();
        scope.push_dynamic(LAST, Dynamic::UNIT);
        Self { bundle, scope, functions, texts: BTreeMap::new() }
    }

    /// Gives the inputs that follow a variable.
    pub(crate) fn give(&mut self, name: &str, value: Dynamic) {
        self.scope.push_dynamic(name.to_owned(), value);
    }

    /// The sources that the inputs belong to.
    pub(crate) fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// The names of the variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.scope.iter_raw().map(|(name, ..)| name)
    }

    /// The inputs, by the name they have as a source.
    pub(crate) fn texts(&self) -> &BTreeMap<String, Arc<str>> {
        &self.texts
    }

    /// The value of the last input that had one.
    pub(crate) fn last(&self) -> Dynamic {
        self.scope.get_value(LAST).unwrap_or_default()
    }

    /// Evaluates the next input: `run` is given the variables and the program.
    pub(crate) fn evaluate(
        &mut self,
        engine: &Engine,
        registry: &Registry,
        text: &str,
        run: impl FnOnce(&mut Scope<'static>, &AST) -> Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<Dynamic, Failed> {
        let name = input_name(self.texts.len() + 1);
        self.texts.insert(name.clone(), text.into());
        let result = match engine.compile_with_scope(&self.scope, text) {
            Err(error) => Err(error.into()),
            Ok(mut ast) => {
                ast.set_source(&name);
                let mut program = self.functions.merge(&ast);
                program.set_source(&name);
                self.functions = self.functions.merge(&ast.clone_functions_only());
                run(&mut self.scope, &program)
            }
        };
        match result {
            Ok(value) => {
                if !value.is_unit() {
                    self.scope.set_value(LAST, value.clone());
                }
                Ok(value)
            }
            Err(error) => {
                let text = |file: &str| self.texts.get(file).cloned().or_else(|| self.bundle.text(file));
                let diagnostic = eval_error(&error, &Scripts { root: &name, text: &text, engine, registry });
                Err(Failed { error, diagnostic })
            }
        }
    }
}
