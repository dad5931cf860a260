//! Scripts of hob's own, by which some of what it offers is done.
//!
//! They are sources as any other: a bundle has the text of those that it may evaluate, so that a run which began with one
//! version of hob goes on with the text that it began with.

use std::sync::{Arc, OnceLock};

use rhai::{AST, Engine, EvalAltResult, Scope};

use crate::bundle::Bundle;

/// A script of hob's own. Bundles with the text that this version has share what it is compiled to.
pub(crate) struct Program {
    /// Its name in places, and its path in bundles.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    compiled: OnceLock<Arc<AST>>,
}

impl Program {
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, compiled: OnceLock::new() }
    }

    /// The script as `bundle` has it, for `engine`, where the variables named in `given` exist; the text of this version for
    /// a bundle from before it was kept there.
    pub(crate) fn of(
        &self,
        bundle: &Bundle,
        engine: &Engine,
        given: &[&'static str],
    ) -> Result<Arc<AST>, Box<EvalAltResult>> {
        let wrong =
            |error: rhai::ParseErrorType| Box::new(EvalAltResult::ErrorParsing(error, rhai::Position::NONE));
        if bundle.text(self.name).is_some_and(|text| *text != *self.text) {
            let program = bundle.program(engine, self.name, given);
            return program.map_err(|problem| {
                let text = format!("`{}` of the bundle: {}", self.name, problem.message);
                wrong(rhai::ParseErrorType::BadInput(rhai::LexError::ImproperSymbol(String::new(), text)))
            });
        }
        if let Some(program) = self.compiled.get() {
            return Ok(Arc::clone(program));
        }
        let mut scope = Scope::new();
        for name in given {
            scope.push(*name, ());
        }
        let mut program = engine.compile_with_scope(&scope, self.text).map_err(|error| wrong(*error.0))?;
        program.set_source(self.name);
        Ok(Arc::clone(self.compiled.get_or_init(|| Arc::new(program))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rhai::Scope;

    use super::Program;
    use crate::bundle::Bundle;
    use crate::language::{Limits, new_engine};

    #[test]
    fn a_run_goes_on_with_the_text_that_it_began_with() {
        static PROGRAM: Program = Program::new("hob:sum.rhai", "given + 1");
        let engine = new_engine(&Limits::default());
        for (path, text, sum) in [
            ("hob:sum.rhai", "given + 1", 6),
            ("hob:sum.rhai", "given + 2", 7),
            // Of a hob that did not keep it.
            ("homelab.rhai", "0", 6),
        ] {
            let bundle = Bundle::of_text(path, text, "", "");
            let program = PROGRAM.of(&bundle, &engine, &["given"]).unwrap();
            let mut scope = Scope::new();
            scope.push("given", 5_i64);
            assert_eq!(
                engine.eval_ast_with_scope::<i64>(&mut scope, &program).unwrap(),
                sum,
                "{path} {text}"
            );
        }
        let broken = Bundle::of_text("hob:sum.rhai", "given +", "", "");
        let error = PROGRAM.of(&broken, &engine, &["given"]).unwrap_err().to_string();
        assert!(error.contains("`hob:sum.rhai` of the bundle"), "{error}");
    }
}
