//! `hob flow graph`

use hob_model::{Code, Diagnostic, names};

use crate::args::{FlowCommand, GraphFormat};
use crate::context::{Context, Exit, Outcome};
use crate::loader;

/// `hob flow …`
pub(crate) fn dispatch(context: &Context, command: &FlowCommand) -> Outcome {
    let FlowCommand::Graph { name, path, format } = command;
    let loaded = loader::load_homelab(path)?;
    let homelab = super::homelab::declared(context, &loaded)?;
    let graphs = || homelab.workflows.iter().filter_map(|it| Some((it.name.as_str(), it.graph.as_ref()?)));
    let Some((_, graph)) = graphs().find(|(known, _)| known == name) else {
        let problem = Diagnostic::error(Code::UnknownName, format!("there is no flow `{name}`"));
        return Err(match names::nearest(name, graphs().map(|(known, _)| known)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        }
        .into());
    };
    let drawn = match format {
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Dot => graph.dot(),
    };
    if context.global.json {
        context.print_json(&serde_json::json!({ "flow": name, "graph": drawn }));
    } else {
        context.print_line(drawn.trim_end());
    }
    Ok(Exit::Done)
}
