//! "Function not found": an operation or a function that is not there, or not for these arguments.

use std::collections::BTreeSet;

use hob_model::Code;
use hob_model::names::nearest;
use hob_primitive::Registry;
use rhai::{Engine, FuncMetadata};

use super::explain::Explained;
use super::tokens::Tokens;
use super::words::{listed, type_name, with_article};

/// The most overloads that a hint shows.
const OVERLOADS_SHOWN_MAX: usize = 4;

/// Functions of Rhai that are absent here, and what to use.
const INSTEAD: [(&str, &str); 8] = [
    ("timestamp", "`time::now()` gives the time; the same on replay"),
    ("parse_json", "`json::parse(text)` reads JSON"),
    ("elapsed", "`time::now()` gives the time; the same on replay"),
    ("rand", "`random::int(from, to)` gives a number; the same on replay"),
    ("eval", "what a script can reach is known before it runs: use a function or a closure"),
    ("require", "`import \"path\" as name;` imports a file"),
    ("printf", "`log::info(text)` logs a text, with values as in `${name}`"),
    ("println", "`log::info(text)` logs a text"),
];

/// What is known about the functions that a script may call.
pub(super) struct Known<'a> {
    pub(super) engine: &'a Engine,
    pub(super) registry: &'a Registry,
    pub(super) tokens: Option<&'a Tokens<'a>>,
}

/// Rhai's `name (type, type)`, with a path before the name when there was one.
struct Signature<'a> {
    name: &'a str,
    types: Vec<&'a str>,
}

fn parse_signature(text: &str) -> Signature<'_> {
    let (name, types) = text.split_once(" (").unwrap_or((text, ""));
    let types = types.strip_suffix(')').unwrap_or(types);
    Signature { name, types: types.split(", ").map(type_name).filter(|name| !name.is_empty()).collect() }
}

/// Explains that no function has this signature.
pub(super) fn not_found(signature: &str, known: Option<&Known<'_>>) -> Explained {
    if signature.starts_with("elements of ") {
        return Explained::invalid(Code::ScriptFailed, signature)
            .hint("give a comparer, as in `list.sort(|a, b| a.size - b.size)`");
    }
    let wanted = parse_signature(signature);
    if wanted.name.starts_with("anon$") {
        let given = counted(wanted.types.len());
        return Explained::invalid(Code::WrongArguments, format!("the closure does not take {given}"))
            .hint("it is called with as many as it has parameters between `|` and `|`");
    }
    if !wanted.name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return operator(&wanted);
    }
    let Some(known) = known else {
        let given = listed(&wanted.types);
        return Explained::invalid(
            Code::UnknownName,
            format!("no function `{}` takes ({given})", wanted.name),
        );
    };
    let explained = match wanted.name.contains("::") {
        true => operation(&wanted, known),
        false => function(&wanted, known),
    };
    explained.word(wanted.name)
}

fn operator(wanted: &Signature<'_>) -> Explained {
    let name = if wanted.name == "contains" { "in" } else { wanted.name };
    let types: Vec<String> = wanted.types.iter().map(|name| with_article(name)).collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let message = format!("`{name}` does not work with {}", listed(&types));
    let explained = Explained::invalid(Code::WrongArguments, message).word(name);
    if wanted.types.contains(&"()") {
        explained.hint("a value is missing: `??` gives a default, as in `(x ?? 0)`")
    } else if wanted.types.contains(&"string") {
        explained
            .hint("`parse_int(text)` makes a number of a text; a template joins texts, as in `${a} ${b}`")
    } else {
        explained
    }
}

/// `no arguments`, `1 argument`, `2 arguments`.
#[must_use]
pub fn counted(arguments: usize) -> String {
    match arguments {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

fn operation(wanted: &Signature<'_>, known: &Known<'_>) -> Explained {
    let got = wanted.types.join(", ");
    if let Some(operation) = known.registry.get(wanted.name) {
        let signature = operation.signature();
        let takes = signature.strip_prefix(operation.name).unwrap_or(&signature);
        let takes = takes.split(" -> ").next().unwrap_or(takes);
        let message = format!("{} takes {takes}; got ({got})", operation.name);
        return Explained::invalid(Code::WrongArguments, message)
            .hint(format!("`hob doc {}` explains it", operation.name));
    }
    let overloads = signatures(known.engine, |path| path == wanted.name);
    if !overloads.is_empty() {
        return wrong_arguments(wanted, &overloads);
    }
    let explained = Explained::invalid(Code::UnknownName, format!("unknown operation `{}`", wanted.name));
    match known.registry.nearest(wanted.name) {
        Some(nearest) => suggest(explained, nearest),
        None => explained.hint("`hob doc` lists the primitives and their operations"),
    }
}

fn function(wanted: &Signature<'_>, known: &Known<'_>) -> Explained {
    let mut overloads = signatures(known.engine, |path| path == wanted.name);
    let defined = known.tokens.map(Tokens::functions).unwrap_or_default();
    let own = defined.iter().filter(|function| function.name == wanted.name);
    overloads.extend(own.map(|function| format!("{}({})", function.name, function.params.join(", "))));
    if !overloads.is_empty() {
        return wrong_arguments(wanted, &overloads);
    }
    let explained = Explained::invalid(Code::UnknownName, format!("unknown function `{}`", wanted.name));
    if known.tokens.is_some_and(|tokens| tokens.declared().iter().any(|name| name == wanted.name)) {
        let name = wanted.name;
        return explained.hint(format!("`{name}` is a variable: a closure is called as in `{name}.call(…)`"));
    }
    if let Some((_, instead)) = INSTEAD.iter().find(|(name, _)| *name == wanted.name) {
        return explained.hint(*instead);
    }
    // `read(…)` instead of `files::read(…)`.
    let suffix = format!("::{}", wanted.name);
    let mut of_primitives = known.registry.operations().map(|operation| operation.name);
    if let Some(name) = of_primitives.find(|name| name.ends_with(&suffix)) {
        return suggest(explained, name);
    }
    let names = function_names(known.engine);
    let own = defined.iter().map(|function| function.name.as_str());
    match nearest(wanted.name, own.chain(names.iter().map(String::as_str))) {
        Some(nearest) => suggest(explained, nearest),
        None if wanted.types.first() == Some(&"()") => {
            explained.hint("the value before the dot is missing: `?.` and `??` go on without it")
        }
        None => explained,
    }
}

fn suggest(mut explained: Explained, nearest: &str) -> Explained {
    explained.message = format!("{}; did you mean `{nearest}`?", explained.message);
    explained
}

fn wrong_arguments(wanted: &Signature<'_>, overloads: &BTreeSet<String>) -> Explained {
    let got = wanted.types.join(", ");
    let message = format!("`{}` does not take ({got})", wanted.name);
    let shown: Vec<String> =
        overloads.iter().take(OVERLOADS_SHOWN_MAX).map(|text| format!("`{text}`")).collect();
    let more = match overloads.len().saturating_sub(OVERLOADS_SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Explained::invalid(Code::WrongArguments, message).hint(format!("there is {}{more}", shown.join(", ")))
}

/// The signatures of the native functions whose path is chosen, as scripts would write them.
fn signatures(engine: &Engine, choose: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let found = engine.collect_fn_metadata(
        None,
        |info| {
            let path = function_path(&info.namespace, info.metadata);
            choose(&path).then(|| function_signature(&path, info.metadata)).flatten()
        },
        true,
    );
    found.into_iter().collect()
}

/// The names of the native functions without a namespace.
fn function_names(engine: &Engine) -> BTreeSet<String> {
    let found = engine.collect_fn_metadata(
        None,
        |info| {
            let plain = info.namespace.is_empty()
                && info.metadata.name.chars().all(|c| c.is_alphanumeric() || c == '_');
            plain.then(|| info.metadata.name.to_string())
        },
        true,
    );
    found.into_iter().collect()
}

/// The namespaces that operations and native functions are found in.
pub(super) fn namespaces(engine: &Engine) -> BTreeSet<String> {
    let found = engine.collect_fn_metadata(None, |info| Some(info.namespace.to_string()), true);
    found.into_iter().filter(|namespace| !namespace.is_empty()).collect()
}

/// How scripts name a native function: `push`, `log::info`.
#[must_use]
pub fn function_path(namespace: &str, metadata: &FuncMetadata) -> String {
    match namespace {
        "" => metadata.name.to_string(),
        namespace => format!("{namespace}::{}", metadata.name),
    }
}

/// A native function as scripts would write it, `push(array, item)`; none for overloads that only types of Rust could
/// reach.
#[must_use]
pub fn function_signature(path: &str, metadata: &FuncMetadata) -> Option<String> {
    const OF_SCRIPTS: [&str; 11] =
        ["int", "float", "string", "array", "map", "blob", "function", "any", "range", "bool", "char"];
    let mut params = Vec::new();
    for param in metadata.params_info.iter().take(metadata.num_params) {
        let (name, of) = param.split_once(':').unwrap_or(("_", param));
        let (name, of) = (name.trim(), type_name(of.trim()));
        if !OF_SCRIPTS.contains(&of) {
            return None;
        }
        params.push(match of {
            "any" if name != "_" => name.to_owned(),
            _ if name == of || name == "_" => of.to_owned(),
            _ => format!("{name}: {of}"),
        });
    }
    if params.is_empty() && metadata.num_params > 0 {
        params = vec!["…".to_owned(); metadata.num_params];
    }
    Some(format!("{path}({})", params.join(", ")))
}
