//! The documentation of what scripts can call, as Markdown: for `hob doc`, `help(…)` and hovering.

use hob_primitive::Operation;

use crate::catalog::Catalog;

/// The page of an operation, a primitive or a function; none where there is nothing with this name.
#[must_use]
pub fn page(catalog: &Catalog, name: &str) -> Option<String> {
    if let Some(operation) = catalog.operation(name) {
        return Some(operation_page(operation));
    }
    if let Some(primitive) = catalog.registry().primitives().iter().find(|primitive| primitive.name == name) {
        let lines: Vec<String> = primitive
            .operations
            .iter()
            .map(|op| format!("{}\n    {}", op.signature(), op.summary()))
            .collect();
        return Some(format!("# {}\n\n{}\n\n{}", primitive.name, primitive.doc, lines.join("\n")));
    }
    let function = catalog.function(name)?;
    let forms: Vec<&str> = function.signatures.iter().map(String::as_str).collect();
    let forms = if forms.is_empty() { name.to_owned() } else { forms.join("\n") };
    Some(format!("{forms}\n\n{}", function.doc).trim_end().to_owned())
}

/// The page of an operation.
#[must_use]
pub fn operation_page(operation: &Operation) -> String {
    let mut page = format!("{}\n\nclass {}", operation.signature(), operation.class);
    if let Some(permission) = operation.permission {
        page.push_str(&format!(", needs {permission}"));
    }
    if let Some(timeout) = operation.timeout {
        page.push_str(&format!(", times out after {timeout}"));
    }
    page.push_str(&format!("\n\n{}", operation.doc));
    if !operation.options.is_empty() {
        page.push_str("\n\nOptions:\n");
        for option in operation.options {
            let default = match option.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            let doc = option.doc.replace('\n', " ");
            page.push_str(&format!("  {}: {}{default}\n      {doc}\n", option.key, option.kind));
        }
    }
    page
}
