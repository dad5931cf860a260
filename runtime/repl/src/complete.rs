//! Completion: the checker's, and that of commands.

use std::sync::{Arc, Mutex};

use hob_check::Catalog;
use hob_check::complete::{Item, Kind, Named, Surroundings, complete};
use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::command::COMMANDS;

/// Knows what exists.
pub trait Live: Send + Sync {
    /// Has what exists of a kind looked up, see [`hob_check::complete::live_kind`]; returns at once.
    fn prepare(&self, kind: &str);

    /// What exists of a kind, as far as that is known. A person waits: it returns within a moment.
    fn names(&self, kind: &str) -> Vec<Named>;
}

/// What exists and can stand after a command.
const AFTER_COMMANDS: [(&str, [&str; 3]); 1] = [(":runs ", ["schedules", "workflows", "runs"])];

/// What is known of the session at the moment.
pub(crate) struct Known {
    pub(crate) variables: Vec<String>,
    pub(crate) live: Arc<dyn Live>,
}

impl Surroundings for Known {
    fn variables(&self) -> Vec<String> {
        self.variables.clone()
    }
    fn live(&self, kind: &str) -> Vec<Named> {
        self.live.names(kind)
    }
}

pub(crate) struct Completions {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) known: Arc<Mutex<Known>>,
}

impl Completer for Completions {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let Ok(known) = self.known.lock() else { return CompletionResult::fresh(vec![]) };
        if line.starts_with(':') {
            return CompletionResult::fresh(commands(line, pos, &*known.live));
        }
        let found = complete(&self.catalog, line, pos, &*known);
        let span = Span { start: found.start, end: pos };
        CompletionResult::fresh(
            found.items.into_iter().map(|item| suggestion(item, span)).collect::<Vec<_>>(),
        )
    }
}

fn suggestion(item: Item, span: Span) -> Suggestion {
    let doc = item.doc.replace('\n', " ");
    let description = match (item.detail.is_empty(), doc.is_empty()) {
        (true, true) => None,
        (false, true) => Some(item.detail),
        (true, false) => Some(doc),
        (false, false) => Some(format!("{}\n{doc}", item.detail)),
    };
    Suggestion { value: item.text, description, span, ..Suggestion::default() }
}

/// Commands, and what may stand after them.
fn commands(line: &str, pos: usize, live: &dyn Live) -> Vec<Suggestion> {
    let written = &line[..pos];
    for (command, kinds) in AFTER_COMMANDS {
        if let Some(begun) = written.strip_prefix(command) {
            let found = kinds.iter().flat_map(|kind| live.names(kind));
            let fits = found.filter(|it| it.name.starts_with(begun));
            let span = Span { start: command.len(), end: pos };
            return fits
                .map(|it| Item { text: it.name, kind: Kind::Live, detail: it.about, doc: String::new() })
                .map(|item| suggestion(item, span))
                .collect();
        }
    }
    let fits = COMMANDS.iter().filter_map(|(form, what)| {
        let word = form.split(' ').next()?;
        (word.starts_with(':') && word.starts_with(written)).then(|| Suggestion {
            value: word.to_owned(),
            description: Some((*what).to_owned()),
            span: Span { start: 0, end: pos },
            ..Suggestion::default()
        })
    });
    fits.collect()
}
