//! `hob doc`, `hob explain`, `hob completions`: what the binary knows about itself.

use clap::CommandFactory;
use hob_engine::control::CONTROLS;
use hob_model::names::nearest;
use hob_model::{Code, Diagnostic};
use hob_primitive::{Operation, Registry};
use hob_terminal::{Column, Table};

use crate::args::Cli;
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob doc [NAME]`
pub(crate) fn doc(context: &Context, name: Option<&str>) -> Outcome {
    let registry = assemble::registry();
    let text = match name {
        None => overview(context, &registry),
        Some(name) => {
            if let Some(operation) = registry.get(name) {
                operation_page(operation)
            } else if let Some(primitive) =
                registry.primitives().iter().find(|primitive| primitive.name == name)
            {
                let lines: Vec<String> = primitive
                    .operations
                    .iter()
                    .map(|op| format!("{}\n    {}", op.signature(), op.summary()))
                    .collect();
                format!("# {}\n\n{}\n\n{}", primitive.name, primitive.doc, lines.join("\n"))
            } else {
                return Err(unknown(&registry, name));
            }
        }
    };
    context.print_line(text.trim_end());
    Ok(Exit::Done)
}

fn overview(context: &Context, registry: &Registry) -> String {
    let mut table = Table::new([Column::new("PRIMITIVE"), Column::new("OPERATIONS")]);
    for primitive in registry.primitives() {
        let names: Vec<&str> =
            primitive.operations.iter().map(|op| op.name.rsplit("::").next().unwrap_or(op.name)).collect();
        table.row([primitive.name.to_owned(), names.join(" ")]);
    }
    let mut controls = Table::new([Column::new("CONTROL"), Column::new("WHAT IT DOES")]);
    for (form, what) in CONTROLS {
        controls.row([form, what]);
    }
    format!("{}\n\n{}", table.render(context.out).trim_end(), controls.render(context.out).trim_end())
}

fn operation_page(operation: &Operation) -> String {
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
            let default = if option.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", option.default)
            };
            page.push_str(&format!(
                "  {}: {}{default}\n      {}\n",
                option.key,
                option.kind,
                option.doc.replace('\n', " ")
            ));
        }
    }
    page
}

fn unknown(registry: &Registry, name: &str) -> Failure {
    let primitives = registry.primitives().iter().map(|primitive| primitive.name);
    let near = nearest(name, primitives).or_else(|| registry.nearest(name));
    let error = Diagnostic::error(Code::UnknownName, format!("there is no primitive or operation `{name}`"));
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")).into(),
        None => error.hint("`hob doc` lists all of them").into(),
    }
}

/// `hob explain [CODE]`
pub(crate) fn explain(context: &Context, code: Option<&str>) -> Outcome {
    match code {
        None => {
            let mut table = Table::new([Column::new("CODE"), Column::new("MEANING")]);
            for code in Code::ALL {
                table.row([code.as_str(), code.title()]);
            }
            context.print_line(table.render(context.out).trim_end());
        }
        Some(text) => {
            let code = Code::parse(text).ok_or_else(|| {
                let near = hob_model::names::nearest(text, Code::ALL.iter().map(|code| code.as_str()));
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                Failure::from(
                    Diagnostic::error(Code::Usage, format!("there is no code `{text}`"))
                        .hint(format!("{near}`hob explain` lists all of them")),
                )
            })?;
            context.print_line(code.page().trim_end());
        }
    }
    Ok(Exit::Done)
}

/// `hob completions SHELL`
pub(crate) fn completions(context: &Context, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hob", &mut script);
    context.print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
