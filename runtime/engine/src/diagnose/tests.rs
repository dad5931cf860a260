//! Bad scripts and what is said about them: the cases are `cases/*.md`, written anew with `UPDATE_EXPECT=1`.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{ExpectFile, expect_file};
use hob_model::{Diagnostic, EffectClass, ErrorKind, OpError, Value};
use hob_primitive::{Args, Ctx, Handler, Operation, Param, Primitive, Registry};
use rhai::module_resolvers::StaticModuleResolver;
use rhai::{Dynamic, Engine, EvalAltResult, Module, Position, Scope};

use super::{Scripts, error_value, eval_error, parse_error};
use crate::convert::to_rhai_error;
use crate::language::{Limits, new_engine};
use crate::library::Library;

const MEDIA: &str = "fn declare(x) {\n    check(x)\n}\nfn check(x) {\n    x.name\n}\nfn each(f) {\n    [1].map(f)\n}\nfn make() { |x| x }";

fn registry() -> Registry {
    let param = |name, kind| Param { name, kind, optional: false, is_path: name == "path" };
    let handler = Handler::Blocking(|_: &Ctx, _: Args| Ok(Value::Unit));
    let doc = "Does it.\n\n```rhai\nx\n```";
    let operation = |name, params| Operation::new(name, EffectClass::Ensure, doc, params, &[], handler);
    let operations = vec![
        operation("files::read", vec![param("path", "string")]),
        operation("files::write", vec![param("path", "string"), param("content", "string or blob")]),
    ];
    Registry::new(vec![Primitive { name: "files", doc: "Files.", operations }]).unwrap()
}

fn engine(registry: &Registry) -> Engine {
    let mut engine = new_engine(&Limits::default());
    Library::new(registry).add_to(&mut engine);
    let mut media = engine.compile(MEDIA).unwrap();
    media.set_source("services/media.rhai");
    let mut modules = StaticModuleResolver::new();
    modules.insert("media", Module::eval_ast_as_new(Scope::new(), &media, &engine).unwrap());
    engine.set_module_resolver(modules);
    engine
}

fn text_of(file: &str, script: &str) -> Option<Arc<str>> {
    match file {
        "main.rhai" => Some(script.into()),
        "services/media.rhai" => Some(MEDIA.into()),
        _ => None,
    }
}

/// What is said about a script.
fn diagnose(script: &str) -> Option<Diagnostic> {
    let registry = registry();
    let engine = engine(&registry);
    let text = |file: &str| text_of(file, script);
    let scripts = Scripts { root: "main.rhai", text: &text, engine: &engine, registry: &registry };
    let mut ast = match engine.compile(script) {
        Ok(ast) => ast,
        Err(error) => return Some(parse_error(&error, "main.rhai", script, &engine)),
    };
    ast.set_source("main.rhai");
    engine.eval_ast::<Dynamic>(&ast).err().map(|error| eval_error(&error, &scripts))
}

/// A diagnostic as text, with the places underlined.
fn render(diagnostic: &Diagnostic, script: &str) -> String {
    let mut out = format!("{}[{}]: {}\n", diagnostic.level, diagnostic.code, diagnostic.message);
    for span in &diagnostic.spans {
        let text = text_of(&span.source.file, script).unwrap_or_default();
        let line = text.lines().nth((span.source.line as usize).saturating_sub(1)).unwrap_or("");
        let pad = " ".repeat((span.source.column as usize).saturating_sub(1));
        let carets = "^".repeat(span.len as usize);
        writeln!(out, "  --> {}\n  | {line}\n  | {pad}{carets} {}", span.source, span.label).unwrap();
    }
    diagnostic.notes.iter().for_each(|note| writeln!(out, "  note: {note}").unwrap());
    diagnostic.hint.iter().for_each(|hint| writeln!(out, "  hint: {hint}").unwrap());
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Compares a file of cases with what is said now: each script of it is tried.
fn check(expected: ExpectFile, cases: &str) {
    let title = cases.lines().next().unwrap();
    let mut actual = format!("{title}\n");
    for case in cases.split("```rhai\n").skip(1) {
        let script = case.split("\n```").next().unwrap();
        let said = diagnose(script).map_or_else(|| "nothing\n".to_owned(), |d| render(&d, script));
        write!(actual, "\n```rhai\n{script}\n```\n\n```text\n{said}```\n").unwrap();
    }
    expected.assert_eq(&actual);
}

#[test]
fn syntax() {
    check(expect_file!["./cases/syntax.md"], include_str!("cases/syntax.md"));
}

#[test]
fn runtime() {
    check(expect_file!["./cases/runtime.md"], include_str!("cases/runtime.md"));
}

/// Adds what fails in the ways that operations and hosts fail.
fn add_failures(engine: &mut Engine) {
    engine.register_fn("refuse", || -> Result<Dynamic, Box<EvalAltResult>> {
        let error = OpError::not_found("/etc/x: no such file").hint("look").detail("code", 2_i64);
        let error = OpError { operation: "files::read".to_owned(), ..error };
        Err(to_rhai_error(&error, Position::NONE))
    });
    engine.register_fn("system", || -> Result<Dynamic, Box<EvalAltResult>> {
        let cause = "x".parse::<i32>().unwrap_err();
        Err(EvalAltResult::ErrorSystem("the port".to_owned(), Box::new(cause)).into())
    });
}

#[test]
fn errors_become_values() {
    for (script, kind, message) in [
        (r#"throw "text""#, ErrorKind::Failed, "text"),
        ("throw 5", ErrorKind::Failed, "the script threw 5"),
        (r#"throw #{ kind: "conflict", message: "twice" }"#, ErrorKind::Conflict, "twice"),
        (r#"throw #{ message: "own" }"#, ErrorKind::Failed, "own"),
        ("throw || 1", ErrorKind::Failed, "the script threw a function"),
        ("fn f() { refuse() } f()", ErrorKind::NotFound, "/etc/x: no such file"),
        ("try { refuse() } catch (e) { throw e; }", ErrorKind::NotFound, "/etc/x: no such file"),
        ("system()", ErrorKind::Failed, "the port: invalid digit found in string"),
        ("1 + #{}", ErrorKind::Invalid, "`+` does not work with an int and a map"),
        ("nothing(1)", ErrorKind::Invalid, "no function `nothing` takes (int)"),
        ("#{}.a", ErrorKind::Invalid, "the map has no property `a`"),
        ("try { #{}.a } catch (e) { throw e; }", ErrorKind::Invalid, "the map has no property `a`"),
        (
            "try { nothing(1) } catch (e) { throw e; }",
            ErrorKind::Invalid,
            "no function `nothing` takes (int)",
        ),
        ("[1][7]", ErrorKind::Invalid, "array index 7 out of bounds: only 1 element in array"),
        (r#"import "nope" as n;"#, ErrorKind::NotFound, "no module `nope` is found"),
        ("fn f() { f() } f()", ErrorKind::Failed, "too many nested calls"),
    ] {
        let mut engine = new_engine(&Limits::default());
        engine.set_module_resolver(StaticModuleResolver::new());
        add_failures(&mut engine);
        let error = error_value(&engine.eval::<Dynamic>(script).unwrap_err());
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{script}");
    }
}

#[test]
fn the_error_of_an_operation_keeps_its_hint_and_its_details() {
    let registry = registry();
    let mut engine = engine(&registry);
    add_failures(&mut engine);
    let script = "fn load() {\n    refuse()\n}\nload();";
    let text = |file: &str| text_of(file, script);
    let scripts = Scripts { root: "main.rhai", text: &text, engine: &engine, registry: &registry };
    let error = engine.eval::<Dynamic>(script).unwrap_err();
    let error_value = error_value(&error);
    assert_eq!((error_value.operation.as_str(), error_value.hint.as_deref()), ("files::read", Some("look")));
    expect_test::expect![[r#"
        error[HOB-0202]: files::read: /etc/x: no such file
          --> main.rhai:2:5
          |     refuse()
          |     ^^^^^^
          --> main.rhai:4:1
          | load();
          | ^^^^ in `load`, called from here
          note: code: 2
          hint: look
    "#]]
    .assert_eq(&render(&eval_error(&error, &scripts), script));
}

proptest::proptest! {
    /// Whatever is written: the diagnostic names a place inside of the script.
    #[test]
    fn every_script_is_diagnosed(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..24)) {
        let script = words.join(" ");
        if let Some(diagnostic) = diagnose(&script) {
            let span = &diagnostic.spans[0];
            let lines: Vec<&str> = script.lines().collect();
            let width = lines.get((span.source.line as usize).saturating_sub(1)).map_or(0, |line| line.chars().count());
            // One column after the last: where something is missing.
            proptest::prop_assert!(span.source.column as usize <= width + 1, "{script:?}: {diagnostic:?}");
            proptest::prop_assert!(span.len >= 1 && !diagnostic.message.is_empty());
            proptest::prop_assert!(!diagnostic.message.contains("(line "), "{}", diagnostic.message);
        }
    }
}

/// What scripts of the property test are made of; nothing that loops.
const WORDS: &[&str] = &[
    "let", "x", "=", "1", ";", "\n", "(", ")", "{", "}", "[", "]", "#{", "\"a\"", "\"", "`b ${", "}`", "`",
    "'c'", "|y|", "fn", "f", "+", ".", "::", ",", ":", "if", "else", "switch", "=>", "_", "try", "catch",
    "throw", "return", "import", "as", "files", "read", "null", "ä", "// c\n", "/* d", "*/", "10s", "0x",
    "==", "===", "$", "this", "call", "for", "in", "break", "const", "eval", "\\", "#", "export", "private",
    "global",
];
