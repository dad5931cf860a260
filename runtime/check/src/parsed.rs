//! A file that was parsed, and where its functions are.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_engine::diagnose::Tokens;
use hob_model::{Source, Span};
use rhai::{AST, ASTNode, Module, Position, ScriptFuncDef, Shared, Stmt};

/// How Rhai names closures.
const CLOSURE: &str = "anon$";

/// A function or a closure of a file. Rhai keeps their statements in a type that it does not give away, so that they
/// are copied out of a walk.
pub(crate) struct Body {
    pub(crate) name: String,
    /// Of closures: first what they capture.
    pub(crate) params: Vec<String>,
    pub(crate) statements: Vec<Stmt>,
}

/// A file of the scripts under check.
pub(crate) struct Parsed {
    pub(crate) path: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) ast: AST,
    /// The functions it defines, by name.
    pub(crate) functions: Vec<Body>,
    closures: BTreeMap<String, Body>,
    /// The files it imports, by the name they have in it.
    pub(crate) imports: Vec<(String, String)>,
}

impl Parsed {
    pub(crate) fn new(path: &str, text: Arc<str>, ast: AST) -> Self {
        let (closures, mut functions): (Vec<Body>, Vec<Body>) =
            bodies(&ast).into_iter().partition(|body| body.name.starts_with(CLOSURE));
        functions.sort_by(|a, b| (&a.name, a.params.len()).cmp(&(&b.name, b.params.len())));
        let closures = closures.into_iter().map(|body| (body.name.clone(), body)).collect();
        Self { path: path.into(), text, ast, functions, closures, imports: Vec::new() }
    }

    /// The definition of the closure that Rhai calls `name`.
    pub(crate) fn closure(&self, name: &str) -> Option<&Body> {
        self.closures.get(name)
    }

    /// Whether it defines a function with this name; with `count` parameters, if that is given.
    pub(crate) fn defines(&self, name: &str, count: Option<usize>) -> bool {
        let fits = |body: &Body| body.name == name && count.is_none_or(|count| body.params.len() == count);
        self.functions.iter().any(fits)
    }

    /// The stretch at `at` with `word`, or the token there.
    pub(crate) fn span(&self, tokens: &Tokens<'_>, at: Position, word: &str) -> Span {
        Span { len: int(tokens.len_at(at, word).max(1)), ..Span::point(self.source(at)) }
    }

    pub(crate) fn source(&self, at: Position) -> Source {
        Source {
            file: self.path.to_string().into(),
            line: int(at.line().unwrap_or(0)),
            column: int(at.position().unwrap_or(0)),
        }
    }
}

/// The functions and closures of a script.
fn bodies(ast: &AST) -> Vec<Body> {
    let body = |function: &Shared<ScriptFuncDef>| {
        let mut alone = Module::new();
        alone.set_script_fn(Shared::clone(function));
        let mut statements = Vec::new();
        AST::new_from_module(alone).walk(&mut |path: &[ASTNode<'_>]| {
            if let [ASTNode::Stmt(statement)] = path {
                statements.push((*statement).clone());
            }
            true
        });
        let params = function.params.iter().map(ToString::to_string).collect();
        Body { name: function.name.to_string(), params, statements }
    };
    ast.iter_fn_def().map(body).collect()
}

pub(crate) fn int(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
