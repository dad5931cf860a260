//! Hints behind the cursor: what was typed before, or the signature of the call that is being typed.

use std::sync::Arc;

use hob_check::Catalog;
use hob_check::complete::{call_at, live_kind};
use nu_ansi_term::{Color, Style};
use reedline::{DefaultHinter, Hinter, History};

use crate::complete::Live;

pub(crate) struct Hints {
    catalog: Arc<Catalog>,
    live: Arc<dyn Live>,
    before: DefaultHinter,
    /// Whether the hint shown is one that can be taken over.
    takes: bool,
}

impl Hints {
    pub(crate) fn new(catalog: Arc<Catalog>, live: Arc<dyn Live>) -> Self {
        let before = DefaultHinter::default().with_style(Style::new().fg(Color::DarkGray));
        Self { catalog, live, before, takes: false }
    }

    /// The signature of the call at the end of `line`. What the call may name is looked up meanwhile, so that it is
    /// there when it is to be completed.
    fn signature(&self, line: &str) -> Option<String> {
        let call = call_at(line, line.len())?;
        if let Some(kind) = live_kind(&call) {
            self.live.prepare(kind);
        }
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
