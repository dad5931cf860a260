//! The catalog as a definition file (`.d.rhai`), the form that Rhai's own tools read.

use std::fmt::Write as _;

use hob_primitive::Operation;

use crate::catalog::Catalog;

/// The definitions of all operations, by primitive, and of the functions of the language.
#[must_use]
pub fn text(catalog: &Catalog) -> String {
    let mut out = String::from("module static;\n\n");
    for primitive in catalog.registry().primitives() {
        let mut depth = 0;
        for part in primitive.name.split("::") {
            let _ = writeln!(out, "{}module {part} {{", "    ".repeat(depth));
            depth += 1;
        }
        for operation in &primitive.operations {
            define(&mut out, operation, depth);
        }
        for depth in (0..depth).rev() {
            let _ = writeln!(out, "{}}}", "    ".repeat(depth));
        }
        out.push('\n');
    }
    for (path, function) in catalog.functions().filter(|(path, _)| !path.contains("::")) {
        comment(&mut out, &function.doc, "");
        for arity in &function.arities {
            let names: Vec<String> = (1..=*arity).map(|number| format!("arg{number}")).collect();
            let _ = writeln!(out, "fn {path}({}) -> ?;", names.join(", "));
        }
        out.push('\n');
    }
    out
}

/// An operation once for each number of arguments it takes.
fn define(out: &mut String, operation: &Operation, depth: usize) {
    let margin = "    ".repeat(depth);
    comment(out, operation.doc, &margin);
    let name = operation.name.rsplit("::").next().unwrap_or(operation.name);
    for count in operation.arity_min()..=operation.arity_max() {
        let params = operation.params.iter().map(|param| format!("{}: {}", param.name, kind(param.kind)));
        let params: Vec<String> = params.chain(["options: Map".to_owned()]).take(count).collect();
        let _ = writeln!(out, "{margin}fn {name}({}) -> {};", params.join(", "), kind(operation.returns));
    }
    out.push('\n');
}

fn comment(out: &mut String, doc: &str, margin: &str) {
    for line in doc.lines() {
        let _ = writeln!(out, "{}", format!("{margin}/// {line}").trim_end());
    }
}

/// A type in Rhai's words; `?` for what has none.
fn kind(kind: &str) -> &'static str {
    match kind {
        "string" | "duration" | "mode" => "String",
        "int" => "int",
        "float" => "float",
        "bool" => "bool",
        "array" => "Array",
        "map" => "Map",
        "blob" => "Blob",
        "()" => "()",
        _ => "?",
    }
}
