//! Scripts of hob's own, by which some of what it offers is done.

use std::sync::OnceLock;

use rhai::{AST, Engine, EvalAltResult, Scope};

/// A script that is compiled once for all engines, which know the same names.
pub(crate) struct Program {
    /// Its name in places.
    pub(crate) name: &'static str,
    text: &'static str,
    compiled: OnceLock<AST>,
}

impl Program {
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, compiled: OnceLock::new() }
    }

    /// The script as `engine` evaluates it; constants of `scope` are known to it.
    pub(crate) fn compiled(&self, engine: &Engine, scope: &Scope<'_>) -> Result<&AST, Box<EvalAltResult>> {
        if let Some(program) = self.compiled.get() {
            return Ok(program);
        }
        let mut program = engine
            .compile_with_scope(scope, self.text)
            .map_err(|error| Box::new(EvalAltResult::ErrorParsing(*error.0, rhai::Position::NONE)))?;
        program.set_source(self.name);
        Ok(self.compiled.get_or_init(|| program))
    }
}
