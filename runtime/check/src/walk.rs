//! One file, statement by statement.

use std::collections::BTreeMap;

use hob_engine::diagnose::{Tokens, parse_error};
use hob_model::{Code, Diagnostic, Span};
use rhai::{ASTFlags, Expr, FnPtr, ParseError, ParseErrorType, Position, Stmt};

use crate::catalog::Catalog;
use crate::check::Request;
use crate::literal::closure_of;
use crate::names::{Edge, Kind, Names, unused};
use crate::order;
use crate::parsed::Parsed;
use crate::reach::{Graph, Key};

/// Methods that keep what they are given, so that a closure among it outlives the pass of its loop.
const KEEPING: [&str; 4] = ["push", "insert", "append", "set"];

/// A name that an import gives a module.
struct Import {
    name: String,
    at: Position,
    used: bool,
}

/// The walk through one file.
pub(crate) struct Walk<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) request: &'a Request<'a>,
    pub(crate) files: &'a BTreeMap<String, Parsed>,
    pub(crate) file: &'a Parsed,
    pub(crate) tokens: &'a Tokens<'a>,
    pub(crate) graph: &'a mut Graph,
    pub(crate) findings: Vec<Diagnostic>,
    /// The function that is walked.
    pub(crate) key: Key,
    /// How many `retry` are around.
    pub(crate) retries: usize,
    names: Names,
    imports: Vec<Import>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        request: &'a Request<'a>,
        files: &'a BTreeMap<String, Parsed>,
        file: &'a Parsed,
        tokens: &'a Tokens<'a>,
        graph: &'a mut Graph,
    ) -> Self {
        Self {
            catalog,
            request,
            files,
            file,
            tokens,
            graph,
            findings: Vec::new(),
            key: Key::top(&file.path),
            retries: 0,
            names: Names::default(),
            imports: Vec::new(),
        }
    }

    /// Walks all of the file: its functions inside of its top level, whose constants and modules they see.
    pub(crate) fn file(&mut self) {
        let file = self.file;
        self.names.enter(Edge::Open);
        for given in ["input"].into_iter().chain(self.request.given.iter().map(String::as_str)) {
            self.names.declare(given, Position::NONE, Kind::Given);
        }
        self.statements(file.ast.statements());
        for function in &file.functions {
            self.key = Key { file: file.path.to_string(), function: function.name.to_string() };
            self.names.enter(Edge::Function);
            for param in &function.params {
                self.names.declare(param, Position::NONE, Kind::Given);
            }
            self.block(&function.statements);
            self.leave();
        }
        self.leave();
        for import in std::mem::take(&mut self.imports).into_iter().filter(|import| !import.used) {
            self.find(unused("the module", &import.name), import.at, &import.name);
        }
    }

    /// Adds a finding at `at`, where `word` stands.
    pub(crate) fn find(&mut self, finding: Diagnostic, at: Position, word: &str) {
        let span = self.span(at, word);
        self.findings.push(finding.span(span));
    }

    pub(crate) fn span(&self, at: Position, word: &str) -> Span {
        self.file.span(self.tokens, at, word)
    }

    fn leave(&mut self) {
        for (name, at) in self.names.leave() {
            self.find(unused("the variable", &name), at, &name);
        }
    }

    fn block(&mut self, statements: &'a [Stmt]) {
        self.names.enter(Edge::Open);
        self.statements(statements);
        self.leave();
    }

    fn statements(&mut self, statements: &'a [Stmt]) {
        let mut over = false;
        for statement in statements {
            if over && let Some(at) = order::begins(statement) {
                let finding = Diagnostic::warning(Code::Unreachable, "this is never reached")
                    .hint("what stands before it ends the block in each case");
                self.find(finding, at, "");
                over = false;
            }
            self.statement(statement);
            over |= order::ends(statement);
        }
    }

    fn statement(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Noop(_) | Stmt::Share(_) => {}
            Stmt::If(flow, _) => {
                self.expr(&flow.expr, false);
                self.block(flow.body.statements());
                self.block(flow.branch.statements());
            }
            Stmt::Switch(switch, _) => {
                self.expr(&switch.0, false);
                for case in &switch.1.expressions {
                    self.expr(&case.lhs, false);
                    self.expr(&case.rhs, false);
                }
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expr(&flow.expr, false);
                self.block(flow.body.statements());
            }
            Stmt::For(parts, _) => {
                let (item, counter, flow) = &**parts;
                self.expr(&flow.expr, false);
                self.names.enter(Edge::Open);
                for name in [Some(item), counter.as_ref()].into_iter().flatten() {
                    self.names.declare(&name.name, name.pos, Kind::Loop);
                }
                self.statements(flow.body.statements());
                self.leave();
            }
            Stmt::Var(parts, flags, _) => {
                let (name, value, _) = &**parts;
                self.expr(value, false);
                self.names.declare(&name.name, name.pos, Kind::Variable);
                if flags.intersects(ASTFlags::EXPORTED) {
                    self.names.make_use(&name.name);
                }
            }
            Stmt::Assignment(parts) => self.assignment(&parts.1.lhs, &parts.1.rhs),
            Stmt::FnCall(call, at) => self.call(call, *at),
            Stmt::Block(block) => self.block(block.statements()),
            Stmt::TryCatch(flow, _) => self.try_catch(flow),
            Stmt::Expr(expr) => self.expr(expr, false),
            Stmt::BreakLoop(value, ..) | Stmt::Return(value, ..) => {
                if let Some(value) = value {
                    self.expr(value, false);
                }
            }
            Stmt::Import(parts, _) => {
                self.expr(&parts.0, false);
                let name = &parts.1;
                if !name.name.is_empty() {
                    self.imports.push(Import { name: name.name.to_string(), at: name.pos, used: false });
                }
            }
            Stmt::Export(parts, _) => self.variable(&parts.0.name, parts.0.pos),
            _ => {}
        }
    }

    fn assignment(&mut self, target: &'a Expr, value: &'a Expr) {
        match target {
            Expr::Variable(variable, _, at) if variable.2.is_empty() => {
                if !self.names.knows(&variable.1) {
                    self.variable(&variable.1, *at);
                }
            }
            other => self.expr(other, false),
        }
        self.expr(value, true);
    }

    fn try_catch(&mut self, flow: &'a rhai::FlowControl) {
        self.block(flow.body.statements());
        let catches = flow.branch.statements();
        if catches.iter().all(|it| matches!(it, Stmt::Noop(_))) {
            let finding = Diagnostic::warning(Code::EmptyCatch, "this `catch` hides every error")
                .hint("handle the error, log it with `log::warn(error(e).message)`, or let it be thrown");
            self.find(finding, flow.branch.position(), "");
        }
        self.names.enter(Edge::Open);
        if let Expr::Variable(caught, _, at) = &flow.expr {
            self.names.declare(&caught.1, *at, Kind::Given);
        }
        self.statements(catches);
        self.leave();
    }

    /// Walks an expression; `kept` says that its value outlives the statement.
    pub(crate) fn expr(&mut self, expr: &'a Expr, kept: bool) {
        match expr {
            Expr::DynamicConstant(value, _) => {
                if let Some(function) = value.read_lock::<FnPtr>() {
                    self.closure(function.fn_name(), &[]);
                }
            }
            Expr::Stmt(block) => match closure_of(block.statements()) {
                Some((call, _)) => self.curried(call, kept),
                None => self.block(block.statements()),
            },
            Expr::InterpolatedString(parts, _) => parts.iter().for_each(|part| self.expr(part, false)),
            Expr::Array(items, _) => items.iter().for_each(|item| self.expr(item, kept)),
            Expr::Map(map, _) => map.0.iter().for_each(|(_, value)| self.expr(value, kept)),
            Expr::Variable(variable, _, at) => self.path(&variable.2, &variable.1, *at),
            Expr::FnCall(call, at) => self.call(call, *at),
            Expr::MethodCall(call, at) => {
                let keeps = KEEPING.contains(&call.name.as_str());
                call.args.iter().for_each(|arg| self.expr(arg, keeps));
                self.check_method(call, *at);
            }
            Expr::Dot(parts, ..) | Expr::Index(parts, ..) => {
                self.expr(&parts.lhs, false);
                self.expr(&parts.rhs, false);
            }
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter().for_each(|part| self.expr(part, kept));
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &'a rhai::FnCallExpr, at: Position) {
        let retries = call.namespace.is_empty() && call.name == "retry";
        self.retries += usize::from(retries);
        call.args.iter().for_each(|arg| self.expr(arg, false));
        self.retries -= usize::from(retries);
        self.check_call(call, at);
    }

    /// A closure that captures variables: they are the arguments after the closure itself.
    fn curried(&mut self, call: &'a rhai::FnCallExpr, kept: bool) {
        let mut captured = Vec::new();
        for arg in call.args.iter().skip(1) {
            let Expr::Variable(variable, _, at) = arg else { continue };
            captured.push(variable.1.as_str());
            if kept && self.names.make_use(&variable.1) == Some(Kind::Loop) {
                let name = &variable.1;
                let finding = Diagnostic::warning(
                    Code::LoopCapture,
                    format!(
                        "all closures of this loop share `{name}`, which has its last value when they are called"
                    ),
                );
                self.find(
                    finding.hint(format!("copy it inside the loop: `let this_{name} = {name};`")),
                    *at,
                    name,
                );
            }
        }
        if let Some(Expr::DynamicConstant(value, _)) = call.args.first()
            && let Some(function) = value.read_lock::<FnPtr>()
        {
            self.closure(function.fn_name(), &captured);
        }
    }

    fn closure(&mut self, name: &str, captured: &[&str]) {
        let Some(definition) = self.file.closure(name) else { return };
        self.names.enter(Edge::Open);
        for param in definition.params.iter().skip(captured.len()) {
            self.names.declare(param, Position::NONE, Kind::Given);
        }
        self.block(&definition.statements);
        self.leave();
    }

    /// `name`, or `module::NAME`.
    fn path(&mut self, namespace: &'a rhai::Namespace, name: &str, at: Position) {
        match namespace.path.first() {
            None => self.variable(name, at),
            Some(first) if first.name == "global" => self.names.make_use_of_global(name),
            Some(first) => {
                self.use_module(&first.name);
            }
        }
    }

    /// Marks a module as used; its file, if it was imported.
    pub(crate) fn use_module(&mut self, name: &str) -> Option<&'a Parsed> {
        for import in self.imports.iter_mut().filter(|import| import.name == name) {
            import.used = true;
        }
        let (_, file) = self.file.imports.iter().rev().find(|(known, _)| known == name)?;
        self.files.get(file)
    }

    /// Whether an import of this file has this name.
    pub(crate) fn imports(&self, name: &str) -> bool {
        self.file.imports.iter().any(|(known, _)| known == name)
            || self.imports.iter().any(|import| import.name == name)
    }

    fn variable(&mut self, name: &str, at: Position) {
        let given = self.request.functions.iter().any(|given| given == name);
        if self.names.make_use(name).is_some() || given {
            return;
        }
        if self.file.defines(name, None) {
            // A function by its name: whoever gets it may call it.
            let callee = Key { file: self.file.path.to_string(), function: name.to_owned() };
            self.graph.node(&self.key).calls.insert(callee);
            return;
        }
        let problem = ParseError(Box::new(ParseErrorType::VariableUndefined(name.to_owned())), at);
        self.findings.push(parse_error(&problem, &self.file.path, &self.file.text, self.catalog.engine()));
    }
}
