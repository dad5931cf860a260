//! What a person sees of a run while it goes on: log lines, progress, dry-run lines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hob_model::{Diagnostic, RunId};
use hob_primitive::Progress;
use hob_runs::Listener;
use hob_terminal::{Bars, End, Lines, Role, Silent, Style, Task, Unit};

/// A bar, and how much it has been told.
type Shown = (Box<dyn Task>, u64);

/// Shows one run on standard error.
pub(crate) struct Watch {
    run: Mutex<RunId>,
    style: Style,
    /// 0 quiet, 1 as usual, 2 and more also debug lines.
    loudness: u8,
    bars: Box<dyn hob_terminal::Progress>,
    /// By title.
    tasks: Mutex<HashMap<String, Shown>>,
    failures: Mutex<Vec<Diagnostic>>,
}

/// Time since this process began, for progress.
pub(crate) fn since_start() -> hob_terminal::progress::Clock {
    #[allow(clippy::disallowed_methods)] // progress is shown in real time
    let begun = std::time::Instant::now();
    Arc::new(move || begun.elapsed())
}

impl Watch {
    /// Shows `run`; on a terminal with bars.
    #[must_use]
    pub(crate) fn new(run: RunId, style: Style, loudness: u8) -> Arc<Self> {
        let bars: Box<dyn hob_terminal::Progress> = match (loudness, style.width_columns) {
            (0, _) => Box::new(Silent),
            (_, Some(_)) => Box::new(Bars::stderr(style, since_start())),
            (_, None) => Box::new(Lines::new(Box::new(std::io::stderr()), since_start())),
        };
        Arc::new(Self {
            run: Mutex::new(run),
            style,
            loudness,
            bars,
            tasks: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// The problems that the run ended with.
    pub(crate) fn failures(&self) -> Vec<Diagnostic> {
        self.failures.lock().map(|mut failures| std::mem::take(&mut *failures)).unwrap_or_default()
    }

    fn line(&self, text: &str) {
        self.bars.suspend(&mut || {
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        });
    }

    /// Shows another run from now on.
    pub(crate) fn turn_to(&self, run: RunId) {
        if let Ok(mut shown) = self.run.lock() {
            *shown = run;
        }
    }

    fn shows(&self, run: RunId) -> bool {
        self.run.lock().is_ok_and(|shown| *shown == run)
    }

    /// Shows that something is under way that tells nothing of itself.
    pub(crate) fn spin(&self, title: &str) {
        if let Ok(mut tasks) = self.tasks.lock()
            && tasks.is_empty()
        {
            tasks.insert(title.to_owned(), (self.bars.start(title, Unit::Items, None), 0));
        }
    }

    /// Ends all bars.
    pub(crate) fn finish(&self) {
        if let Ok(mut tasks) = self.tasks.lock() {
            for (_, (task, _)) in tasks.drain() {
                task.finish(End::Done);
            }
        }
    }
}

impl Listener for Watch {
    fn failed(&self, run: RunId, diagnostic: &Diagnostic) {
        if self.shows(run)
            && let Ok(mut failures) = self.failures.lock()
        {
            failures.push(diagnostic.clone());
        }
    }

    fn log(&self, run: RunId, level: &str, message: &str) {
        if !self.shows(run) || self.loudness == 0 || (level == "debug" && self.loudness < 2) {
            return;
        }
        let role = match level {
            "error" => Role::Error,
            "warn" => Role::Warning,
            _ => Role::Muted,
        };
        let text = hob_terminal::text::sanitize(message);
        self.line(&format!("{} {text}", self.style.paint(role, &format!("{level:>5}"))));
    }

    fn progress(&self, run: RunId, operation: &str, progress: Progress) {
        if !self.shows(run) {
            return;
        }
        let Ok(mut tasks) = self.tasks.lock() else { return };
        let unit = if progress.bytes { Unit::Bytes } else { Unit::Items };
        let title = if progress.message.is_empty() { operation.to_owned() } else { progress.message.clone() };
        let (task, done) =
            tasks.entry(title.clone()).or_insert_with(|| (self.bars.start(&title, unit, progress.total), 0));
        task.advance(progress.done.saturating_sub(*done));
        *done = progress.done;
        if progress.total.is_some_and(|total| progress.done >= total)
            && let Some((task, _)) = tasks.remove(&title)
        {
            task.finish(End::Done);
        }
    }

    fn dry(&self, run: RunId, text: &str, modelled: bool) {
        if !self.shows(run) {
            return;
        }
        let note = if modelled { "" } else { "   (result not modelled: ())" };
        self.line(&format!(
            "{} {text}{}",
            self.style.paint(Role::Name, "would"),
            self.style.paint(Role::Muted, note)
        ));
    }
}
