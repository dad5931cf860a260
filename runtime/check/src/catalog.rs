//! Everything that scripts can call, in one table: for checks, completion, hover, `help` and `hob doc`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_engine::control::{CONTROL_OPTIONS, CONTROLS};
use hob_engine::diagnose::{function_path, function_signature};
use hob_engine::request::COMMON_OPTIONS;
use hob_primitive::{Operation, OptionSpec, Registry};
use rhai::{Engine, FuncMetadata};

/// A function of the language: one of Rhai, of hob's own, or a control.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Its forms, as `push(array, item)`.
    pub signatures: BTreeSet<String>,
    /// With how many arguments it can be called; a method's value before the dot counts.
    pub arities: BTreeSet<usize>,
    /// What it does, in Markdown; may be empty.
    pub doc: String,
}

/// Everything that scripts can call.
pub struct Catalog {
    registry: Arc<Registry>,
    /// Knows all names, and parses scripts with unknown variables, so that all of them are found at once.
    engine: Engine,
    functions: BTreeMap<String, Function>,
}

impl Catalog {
    /// The catalog of these operations.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        let mut engine = hob_engine::parsing_engine(&registry);
        engine.set_strict_variables(false);
        let functions = functions(&engine, &registry);
        Self { registry, engine, functions }
    }

    /// The operations.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An engine that parses scripts.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The operation with this full name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&Arc<Operation>> {
        self.registry.get(name)
    }

    /// The function with this path: `push`, `log::info`.
    #[must_use]
    pub fn function(&self, path: &str) -> Option<&Function> {
        self.functions.get(path)
    }

    /// The functions of the language, by path.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Function)> {
        self.functions.iter().map(|(path, function)| (path.as_str(), function))
    }

    /// The namespaces: primitives, parts of them, and `log`.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<&str> {
        let operations = self.registry.operations().map(|operation| operation.name);
        let paths = operations.chain(self.functions.keys().map(String::as_str));
        paths.filter_map(|path| path.rsplit_once("::")).map(|(namespace, _)| namespace).collect()
    }

    /// The keys that the option map of an operation or a control may have: its own, then those of every effect.
    #[must_use]
    pub fn options(&self, path: &str) -> Vec<OptionKey> {
        if let Some((_, _, keys)) = CONTROL_OPTIONS.iter().find(|(name, ..)| *name == path) {
            return keys.iter().map(|key| OptionKey::bare(key)).collect();
        }
        let Some(operation) = self.operation(path) else { return Vec::new() };
        let mut keys: Vec<OptionKey> = operation.options.iter().map(OptionKey::of).collect();
        if operation.class != hob_model::EffectClass::Pure {
            let common = COMMON_OPTIONS.iter().filter(|(key, _)| !keys.iter().any(|own| own.key == *key));
            let common: Vec<OptionKey> =
                common.map(|(key, doc)| OptionKey { doc, ..OptionKey::bare(key) }).collect();
            keys.extend(common);
        }
        keys
    }
}

/// A key of an option map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionKey {
    /// The key.
    pub key: &'static str,
    /// Its type, as scripts see it; empty where that is not declared.
    pub kind: &'static str,
    /// The texts it is limited to.
    pub choices: &'static [&'static str],
    /// What it does.
    pub doc: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

impl OptionKey {
    fn of(spec: &OptionSpec) -> Self {
        Self { key: spec.key, kind: spec.kind, choices: spec.choices, doc: spec.doc, required: spec.required }
    }

    /// A key that every effect has, or one of a control.
    fn bare(key: &'static str) -> Self {
        let (kind, choices): (&str, &[&str]) = match key {
            "timeout" | "backoff" => ("duration", &[]),
            "attempts" => ("int", &[]),
            "retry" => ("int or map", &[]),
            "undo" => ("function", &[]),
            "on_doubt" => ("string", &["ask", "retry", "skip", "fail"]),
            "class" => ("string", &["observe", "ensure", "keyed", "once"]),
            "idempotent" | "fail_fast" | "details" => ("bool", &[]),
            // `max` is a number of branches or the longest pause.
            _ => ("", &[]),
        };
        Self { key, kind, choices, doc: "", required: false }
    }
}

/// The functions that the engine knows beside the operations.
fn functions(engine: &Engine, registry: &Registry) -> BTreeMap<String, Function> {
    let found = engine.collect_fn_metadata(
        None,
        |info| {
            let path = function_path(&info.namespace, info.metadata);
            let signature = function_signature(&info.metadata.name, info.metadata);
            Some((path, signature, info.metadata.num_params, doc(info.metadata)))
        },
        true,
    );
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    let is_name = |path: &str| path.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
    for (path, signature, arity, doc) in found {
        if !is_name(&path) || registry.get(&path).is_some() {
            continue;
        }
        let function = functions.entry(path).or_default();
        function.signatures.extend(signature);
        function.arities.insert(arity);
        if function.doc.is_empty() {
            function.doc = doc;
        }
    }
    for (form, what) in CONTROLS {
        let name = form.split('(').next().unwrap_or(form);
        let function = functions.entry(name.to_owned()).or_default();
        function.signatures = BTreeSet::from([form.to_owned()]);
        what.clone_into(&mut function.doc);
    }
    functions
}

/// The documentation of a native function, without the marks of comments.
fn doc(metadata: &FuncMetadata) -> String {
    let lines = metadata.comments.iter().flat_map(|comment| comment.lines());
    let lines: Vec<&str> =
        lines.map(|line| line.trim_start().trim_start_matches("///").trim_start()).collect();
    lines.join("\n").trim().to_owned()
}
