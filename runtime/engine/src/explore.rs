//! Looking around in an old run: expressions over the variables it had. Nothing acts or observes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::{Diagnostic, Value};
use rhai::{Dynamic, Engine};

use crate::branch::DeclaringHandle;
use crate::bundle::Bundle;
use crate::convert::{to_dynamic, to_value};
use crate::declare::Declaring;
use crate::host::Host;
use crate::inputs::Inputs;
use crate::inspect::Snapshot;
use crate::latch::on_fresh_flag;
use crate::progress::effect_reached;

/// Evaluates expressions where a run once was.
pub struct Explorer {
    host: Arc<Host>,
    engine: Engine,
    inputs: Inputs,
}

impl Explorer {
    /// With the variables of `snapshot` and the functions of the bundle's root; closures are left out.
    #[must_use]
    pub fn new(host: &Arc<Host>, bundle: &Arc<Bundle>, snapshot: &Snapshot) -> Self {
        let tag = DeclaringHandle(Declaring::refusing(Arc::clone(bundle)));
        let engine = crate::evaluate::engine_for(host, bundle, Dynamic::from(tag));
        let program = bundle.program(&engine, &bundle.record.root, &["input"]);
        let functions = program.map(|program| program.clone_functions_only()).unwrap_or_default();
        let mut inputs = Inputs::new(Arc::clone(bundle), functions);
        for variable in &snapshot.variables {
            if let Ok(value) = &variable.value {
                inputs.give(&variable.name, to_dynamic(value.clone()));
            }
        }
        Self { host: Arc::clone(host), engine, inputs }
    }

    /// The names of the variables.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        self.inputs.variables().map(str::to_owned).collect()
    }

    /// The inputs so far, by the name they have as a source.
    #[must_use]
    pub fn texts(&self) -> &BTreeMap<String, Arc<str>> {
        self.inputs.texts()
    }

    /// Evaluates an input; what cannot be written down, as a closure, counts as `()`.
    ///
    /// # Errors
    /// When it does not parse, throws, or would act.
    pub fn evaluate(&mut self, text: &str) -> Result<Value, Diagnostic> {
        effect_reached();
        let Self { host, engine, inputs } = self;
        let result = inputs.evaluate(engine, &host.registry, text, |scope, program| {
            on_fresh_flag(|| engine.eval_ast_with_scope(scope, program))
        });
        result.map(|value| to_value(&value).unwrap_or_default()).map_err(|failed| failed.diagnostic)
    }
}
