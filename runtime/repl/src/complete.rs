//! Completion: the checker's, and that of commands.

use std::sync::{Arc, Mutex};

use hob_check::Catalog;
use hob_check::complete::{Item, Surroundings, complete};
use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::command::COMMANDS;

/// Gives the names of what exists of a kind, named as its primitive.
pub type Live = Arc<dyn Fn(&str) -> Vec<String> + Send + Sync>;

/// What is known of the session at the moment.
pub(crate) struct Known {
    pub(crate) variables: Vec<String>,
    pub(crate) live: Live,
}

impl Surroundings for Known {
    fn variables(&self) -> Vec<String> {
        self.variables.clone()
    }
    fn live(&self, kind: &str) -> Vec<String> {
        (self.live)(kind)
    }
}

pub(crate) struct Completions {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) known: Arc<Mutex<Known>>,
}

impl Completer for Completions {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        if line.starts_with(':') {
            return CompletionResult::fresh(commands(line, pos));
        }
        let Ok(known) = self.known.lock() else { return CompletionResult::fresh(vec![]) };
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

fn commands(line: &str, pos: usize) -> Vec<Suggestion> {
    let fits = COMMANDS.iter().filter_map(|(form, what)| {
        let word = form.split(' ').next()?;
        (word.starts_with(':') && word.starts_with(&line[..pos])).then(|| Suggestion {
            value: word.to_owned(),
            description: Some((*what).to_owned()),
            span: Span { start: 0, end: pos },
            ..Suggestion::default()
        })
    });
    fits.collect()
}
