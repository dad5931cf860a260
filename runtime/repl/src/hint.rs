//! Hints behind the cursor: what was typed before, or the signature of the call that is being typed.

use std::sync::Arc;

use hob_check::Catalog;
use hob_check::complete::call_at;
use nu_ansi_term::{Color, Style};
use reedline::{DefaultHinter, Hinter, History};

pub(crate) struct Hints {
    catalog: Arc<Catalog>,
    before: DefaultHinter,
    /// Whether the hint shown is one that can be taken over.
    takes: bool,
}

impl Hints {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        let before = DefaultHinter::default().with_style(Style::new().fg(Color::DarkGray));
        Self { catalog, before, takes: false }
    }

    /// The signature of the call at the end of `line`.
    fn signature(&self, line: &str) -> Option<String> {
        let call = call_at(line, line.len())?;
        match self.catalog.operation(&call.path) {
            Some(operation) => Some(operation.signature()),
            None => self.catalog.function(&call.path)?.signatures.iter().next().cloned(),
        }
    }
}

impl Hinter for Hints {
    fn handle(&mut self, line: &str, pos: usize, history: &dyn History, ansi: bool, cwd: &str) -> String {
        let hint = self.before.handle(line, pos, history, ansi, cwd);
        self.takes = !hint.is_empty();
        if self.takes || pos < line.len() {
            return hint;
        }
        let Some(signature) = self.signature(line) else { return String::new() };
        let text = format!("   {signature}");
        if ansi { Style::new().fg(Color::DarkGray).paint(text).to_string() } else { text }
    }

    fn complete_hint(&self) -> String {
        if self.takes { self.before.complete_hint() } else { String::new() }
    }

    fn next_hint_token(&self) -> String {
        if self.takes { self.before.next_hint_token() } else { String::new() }
    }
}
