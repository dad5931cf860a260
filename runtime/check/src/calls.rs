//! Calls: whether what is called is there, and takes what it is given.

use std::sync::Arc;

use hob_engine::diagnose::{Scripts, counted, eval_error};
use hob_model::names::nearest;
use hob_model::{Code, Diagnostic, Span, Value};
use hob_primitive::Operation;
use rhai::{EvalAltResult, Expr, FnCallExpr, Position};

use crate::literal::{Literal, literal, value};
use crate::reach::{Key, Use, is_once};
use crate::walk::Walk;

/// Functions that are part of Rhai's syntax.
const KEYWORDS: [&str; 12] = [
    "call",
    "curry",
    "type_of",
    "is_shared",
    "is_def_var",
    "is_def_fn",
    "Fn",
    "print",
    "debug",
    "eval",
    "this",
    "this_type",
];
/// Functions and operations whose first argument names a secret.
const SECRETS: [&str; 3] = ["secret", "secret_file", "secrets::get"];
/// Options that say what may be done when nobody knows whether an effect happened.
const CLASSING: [&str; 3] = ["class", "idempotent", "idempotency_key"];
/// The most forms of a method that a hint shows.
const FORMS_SHOWN_MAX: usize = 12;

/// The finding that `retry` repeats an effect of the class `once`.
pub(crate) fn repeated(operation: &str, span: Span) -> Diagnostic {
    let text = format!("`{operation}` is of the class `once`, and each attempt does it again");
    Diagnostic::warning(Code::Repeated, text)
        .span(span)
        .hint("say `#{ idempotent: true }` if doing it twice is harmless, or retry only what does no harm")
}

impl<'a> Walk<'a> {
    /// Looks at a call whose arguments were walked.
    pub(crate) fn check_call(&mut self, call: &'a FnCallExpr, at: Position) {
        if call.op_token.is_some() {
            return;
        }
        let Some(first) = call.namespace.path.first() else {
            return self.check_function(call, at);
        };
        if self.imports(&first.name) {
            return self.check_module_function(call, at);
        }
        if first.name == "global" {
            return;
        }
        let parts = call.namespace.path.iter().map(|part| part.name.as_str());
        let path: Vec<&str> = parts.chain([call.name.as_str()]).collect();
        let path = path.join("::");
        match self.catalog.operation(&path).cloned() {
            Some(operation) => self.check_operation(&operation, call, at),
            None => {
                let known = self.catalog.function(&path);
                if known.is_none_or(|function| !function.arities.contains(&call.args.len())) {
                    self.not_found(&path, &call.args, at);
                }
            }
        }
    }

    fn check_function(&mut self, call: &'a FnCallExpr, at: Position) {
        let name = call.name.as_str();
        if SECRETS.contains(&name) {
            self.secret(call);
        }
        if self.file.defines(name, Some(call.args.len())) {
            self.called(Key { file: self.file.path.to_string(), function: name.to_owned() }, at, name);
            return;
        }
        if KEYWORDS.contains(&name) || self.request.functions.iter().any(|given| given == name) {
            return;
        }
        match self.catalog.function(name) {
            Some(function) if function.arities.contains(&call.args.len()) => self.check_control(name, call),
            _ => self.not_found(name, &call.args, at),
        }
    }

    fn check_module_function(&mut self, call: &'a FnCallExpr, at: Position) {
        let alias = call.namespace.root().to_owned();
        let Some(module) = self.use_module(&alias) else { return };
        let name = call.name.as_str();
        if module.defines(name, Some(call.args.len())) {
            self.called(Key { file: module.path.to_string(), function: name.to_owned() }, at, name);
            return;
        }
        let path = format!("{alias}::{name}");
        let file = &module.path;
        if let Some(other) = module.functions.iter().find(|function| function.name == name) {
            let finding = Diagnostic::error(
                Code::WrongArguments,
                format!("`{path}` takes ({}); got {}", other.params.join(", "), counted(call.args.len())),
            );
            self.find(finding.hint(format!("it is defined in {file}")), at, name);
            return;
        }
        let near = nearest(name, module.functions.iter().map(|function| function.name.as_str()));
        let finding = match near {
            Some(near) => format!("{file} has no function `{name}`; did you mean `{alias}::{near}`?"),
            None => format!("{file} has no function `{name}`"),
        };
        self.find(Diagnostic::error(Code::UnknownName, finding), at, name);
    }

    /// Looks at a method: the value before the dot counts as an argument, and maps have methods of their own.
    pub(crate) fn check_method(&mut self, call: &'a FnCallExpr, at: Position) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if self.file.defines(name, Some(count + 1)) || self.file.defines(name, Some(count)) {
            self.called(Key { file: self.file.path.to_string(), function: name.to_owned() }, at, name);
            return;
        }
        let native = self.catalog.function(name);
        if KEYWORDS.contains(&name) || native.is_some_and(|function| function.arities.contains(&(count + 1)))
        {
            return;
        }
        if self.is_key_somewhere(name) || self.request.functions.iter().any(|given| given == name) {
            return;
        }
        if native.is_some() {
            let forms: Vec<String> = native
                .into_iter()
                .flat_map(|function| &function.signatures)
                .take(FORMS_SHOWN_MAX)
                .map(|form| format!("`{form}`"))
                .collect();
            let text = format!("no method `{name}` takes {}", counted(count));
            let finding = Diagnostic::error(Code::WrongArguments, text);
            self.find(finding.hint(format!("there is {}", forms.join(", "))), at, name);
            return;
        }
        let names = self.catalog.functions().map(|(path, _)| path).filter(|path| !path.contains("::"));
        let own = self.file.functions.iter().map(|function| function.name.as_str());
        let text = match nearest(name, names.chain(own)) {
            Some(near) => format!("unknown method `{name}`; did you mean `{near}`?"),
            None => format!("unknown method `{name}`"),
        };
        self.find(Diagnostic::error(Code::UnknownName, text), at, name);
    }

    /// Whether a map of these files may have a closure under this key.
    fn is_key_somewhere(&self, name: &str) -> bool {
        self.files.values().any(|file| {
            let found = file.text.match_indices(name);
            let mut keys = found.map(|(at, _)| file.text[at + name.len()..].trim_start_matches(['"', ' ']));
            keys.any(|rest| rest.starts_with(':') && !rest.starts_with("::") || rest.starts_with('='))
        })
    }

    /// Notes a call of a function of the scripts.
    fn called(&mut self, callee: Key, at: Position, word: &str) {
        if self.retries > 0 {
            let span = self.span(at, word);
            self.graph.retried.push((callee.clone(), span));
        }
        self.graph.node(&self.key).calls.insert(callee);
    }

    fn secret(&mut self, call: &FnCallExpr) {
        let has_content = |arg: &Expr| matches!(arg, Expr::Map(map, _) if map.0.iter().any(|(key, _)| key.name == "content"));
        let name = match call.args.first() {
            // The name of a file; its content names secrets itself.
            Some(_) if call.args.get(1).is_some_and(has_content) => return,
            Some(Expr::StringConstant(text, _)) => text.to_string(),
            _ => "*".to_owned(),
        };
        self.graph.node(&self.key).secrets.insert(name);
    }

    /// What the engine would say of this call.
    fn not_found(&mut self, path: &str, args: &[Expr], at: Position) {
        let types: Vec<&str> =
            args.iter().map(|arg| literal(arg).map_or("any", |literal| literal.type_name())).collect();
        let signature = format!("{path} ({})", types.join(", "));
        let error = EvalAltResult::ErrorFunctionNotFound(signature, at);
        let text = |file: &str| self.files.get(file).map(|file| Arc::clone(&file.text));
        let scripts = Scripts {
            root: &self.file.path,
            text: &text,
            engine: self.catalog.engine(),
            registry: self.catalog.registry(),
        };
        self.findings.push(eval_error(&error, &scripts));
    }

    fn check_control(&mut self, name: &'a str, call: &'a FnCallExpr) {
        let table = hob_engine::control::CONTROL_OPTIONS;
        let Some((_, from, _)) = table.iter().find(|(control, ..)| *control == name) else { return };
        let keys = self.catalog.options(name);
        let last = call.args.len().saturating_sub(1);
        for (at, arg) in call.args.iter().enumerate().skip(*from) {
            if (*from == 0) == (at == 0) || at == last && *from > 0 {
                self.check_options(name, arg, &keys);
            }
        }
    }

    fn check_operation(&mut self, operation: &Arc<Operation>, call: &'a FnCallExpr, at: Position) {
        let args = &call.args;
        if args.len() < operation.arity_min() || args.len() > operation.arity_max() {
            self.not_found(operation.name, args, at);
            return;
        }
        let options = args.last().filter(|last| options_come_last(operation, args.len(), last));
        let positional = &args[..args.len() - usize::from(options.is_some())];
        for (number, (arg, param)) in positional.iter().zip(&operation.params).enumerate() {
            let Some(literal) = literal(arg) else { continue };
            let fits = match (&literal, param.optional) {
                (Literal::Unit, false) if param.kind != "any" => {
                    Err(format!("expected {}, got ()", param.kind))
                }
                _ => literal.fits(param.kind),
            };
            if let Err(problem) = fits {
                let text =
                    format!("{}: argument {} (`{}`): {problem}", operation.name, number + 1, param.name);
                let finding = Diagnostic::error(Code::WrongArguments, text)
                    .hint(format!("`hob doc {}` explains it", operation.name));
                self.find(finding, arg.start_position(), "");
            }
        }
        let keys = self.catalog.options(operation.name);
        match options {
            Some(map) => self.check_options(operation.name, map, &keys),
            // A variable where the options stand may hold what is required.
            None if positional.len() <= operation.params.len() => {
                if let Some(missing) = keys.iter().find(|key| key.required)
                    && args.last().is_none_or(|last| literal(last).is_some())
                {
                    let text = format!("`{}` needs the option `{}`", operation.name, missing.key);
                    self.find(Diagnostic::error(Code::UnknownOption, text).hint(missing.doc), at, &call.name);
                }
            }
            None => {}
        }
        self.effect(operation, positional, options, at);
    }

    /// Notes what an operation does, and whether `retry` repeats it.
    fn effect(&mut self, operation: &Arc<Operation>, args: &[Expr], options: Option<&Expr>, at: Position) {
        if operation.class == hob_model::EffectClass::Pure {
            return;
        }
        let given = |key: &str| match options {
            Some(Expr::Map(map, _)) => map.0.iter().any(|(name, _)| name.name == key),
            _ => false,
        };
        let classed = CLASSING.iter().any(|key| given(key));
        let values: Vec<Value> = args.iter().map(value).collect();
        let needs = hob_engine::request::needs(operation, &values, self.request.cwd);
        if SECRETS.contains(&operation.name)
            || operation.permission.is_some_and(|it| it.starts_with("secrets."))
        {
            let name = values.first().and_then(Value::as_str).unwrap_or("*").to_owned();
            self.graph.node(&self.key).secrets.insert(name);
        }
        if is_once(operation, classed) && (self.retries > 0 || given("retry")) {
            let span = self.span(at, "");
            self.findings.push(repeated(operation.name, span));
        }
        let source = self.file.source(at);
        let it = Use { operation: Arc::clone(operation), needs, source, classed };
        self.graph.node(&self.key).uses.push(it);
    }

    fn check_options(&mut self, of: &str, map: &Expr, keys: &[crate::catalog::OptionKey]) {
        let Expr::Map(map, at) = map else { return };
        for (name, given) in &map.0 {
            let Some(key) = keys.iter().find(|key| key.key == name.name) else {
                let names: Vec<&str> = keys.iter().map(|key| key.key).collect();
                let mut finding =
                    Diagnostic::error(Code::UnknownOption, format!("`{of}` has no option `{}`", name.name));
                finding = match names.is_empty() {
                    true => finding.note("it takes no options"),
                    false => finding.note(format!("allowed are {}", names.join(", "))),
                };
                if let Some(near) = nearest(&name.name, names.iter().copied()) {
                    finding = finding.hint(format!("did you mean `{near}`?"));
                }
                self.find(finding, name.pos, &name.name);
                continue;
            };
            let Some(literal) = literal(given) else { continue };
            let problem = match literal {
                Literal::Text(text) if !key.choices.is_empty() && !key.choices.contains(&text) => {
                    let near = nearest(text, key.choices.iter().copied());
                    let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
                    Some(format!("\"{text}\" is none of {}{near}", key.choices.join(", ")))
                }
                literal => literal.fits(key.kind).err(),
            };
            if let Some(problem) = problem {
                let finding =
                    Diagnostic::error(Code::UnknownOption, format!("{of}: option `{}`: {problem}", key.key));
                self.find(finding, given.start_position(), "");
            }
        }
        for key in keys.iter().filter(|key| key.required) {
            if !map.0.iter().any(|(name, _)| name.name == key.key) {
                let finding =
                    Diagnostic::error(Code::UnknownOption, format!("`{of}` needs the option `{}`", key.key));
                self.find(finding.hint(key.doc), *at, "#{");
            }
        }
    }
}

/// Whether the last argument is the option map, as the engine tells it.
fn options_come_last(operation: &Operation, count: usize, last: &Expr) -> bool {
    if !operation.takes_options() {
        return false;
    }
    match operation.params.get(count - 1) {
        // What is past the parameters is read as options, whatever it is.
        None => true,
        Some(param) => {
            matches!(last, Expr::Map(..)) && param.optional && !matches!(param.kind, "map" | "any")
        }
    }
}
