//! Looking around in an old run: expressions over the variables it had. Nothing acts or observes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::{Diagnostic, Value};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};

use crate::branch::DeclaringHandle;
use crate::bundle::Bundle;
use crate::control::session::{LAST, input_name};
use crate::convert::{to_dynamic, to_value};
use crate::declare::Declaring;
use crate::diagnose::{Scripts, eval_error};
use crate::host::Host;
use crate::inspect::Snapshot;
use crate::latch::on_fresh_flag;
use crate::progress::effect_reached;

/// Evaluates expressions where a run once was.
pub struct Explorer {
    host: Arc<Host>,
    bundle: Arc<Bundle>,
    engine: Engine,
    scope: Scope<'static>,
    functions: AST,
    texts: BTreeMap<String, Arc<str>>,
}

impl Explorer {
    /// With the variables of `snapshot` and the functions of the bundle's root; closures are left out.
    #[must_use]
    pub fn new(host: &Arc<Host>, bundle: &Arc<Bundle>, snapshot: &Snapshot) -> Self {
        let tag = DeclaringHandle(Declaring::refusing(Arc::clone(bundle)));
        let engine = crate::evaluate::engine_for(host, bundle, Dynamic::from(tag));
        let mut scope = Scope::new();
        scope.push_dynamic(LAST, Dynamic::UNIT);
        for variable in &snapshot.variables {
            if let Ok(value) = &variable.value {
                scope.push_dynamic(variable.name.clone(), to_dynamic(value.clone()));
            }
        }
        let program = bundle.program(&engine, &bundle.record.root, &["input"]);
        let functions = program.map(|program| program.clone_functions_only()).unwrap_or_default();
        Self {
            host: Arc::clone(host),
            bundle: Arc::clone(bundle),
            engine,
            scope,
            functions,
            texts: BTreeMap::new(),
        }
    }

    /// The names of the variables.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        self.scope.iter().map(|(name, ..)| name.to_owned()).collect()
    }

    /// The inputs so far, by the name they have as a source.
    #[must_use]
    pub fn texts(&self) -> &BTreeMap<String, Arc<str>> {
        &self.texts
    }

    /// Evaluates an input; what cannot be written down, as a closure, counts as `()`.
    ///
    /// # Errors
    /// When it does not parse, throws, or would act.
    pub fn evaluate(&mut self, text: &str) -> Result<Value, Diagnostic> {
        let name = input_name(self.texts.len() + 1);
        self.texts.insert(name.clone(), text.into());
        effect_reached();
        let result: Result<Dynamic, Box<EvalAltResult>> =
            match self.engine.compile_with_scope(&self.scope, text) {
                Err(error) => Err(error.into()),
                Ok(mut ast) => {
                    ast.set_source(&name);
                    let mut program = self.functions.merge(&ast);
                    program.set_source(&name);
                    self.functions = self.functions.merge(&ast.clone_functions_only());
                    on_fresh_flag(|| self.engine.eval_ast_with_scope(&mut self.scope, &program))
                }
            };
        match result {
            Ok(value) => {
                if !value.is_unit() {
                    self.scope.set_value(LAST, value.clone());
                }
                Ok(to_value(&value).unwrap_or_default())
            }
            Err(error) => {
                let text = |file: &str| self.texts.get(file).cloned().or_else(|| self.bundle.text(file));
                let registry = &self.host.registry;
                Err(eval_error(&error, &Scripts { root: &name, text: &text, engine: &self.engine, registry }))
            }
        }
    }
}
