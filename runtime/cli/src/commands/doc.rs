//! `hob doc`, `hob explain`: what the binary knows about itself.

use hob_check::help;
use hob_engine::control::CONTROLS;
use hob_model::names::nearest;
use hob_model::{Code, Diagnostic};
use hob_primitive::Registry;
use hob_terminal::{Column, Table};

use crate::assemble;
use crate::commands::check::CATALOG;
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob doc [NAME]`
pub(crate) fn doc(context: &Context, name: Option<&str>) -> Outcome {
    let registry = assemble::registry();
    let text = match name {
        None => overview(context, &registry),
        Some(name) => help::page(&CATALOG, name).ok_or_else(|| unknown(&registry, name))?,
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
