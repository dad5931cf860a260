//! The loop: read, evaluate, show.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_check::Catalog;
use hob_model::{Code, Diagnostic, Value};
use hob_terminal::{Column, Style, Table, human, records, render_all};
use reedline::{
    DescriptionMode, Emacs, FileBackedHistory, IdeMenu, KeyCode, KeyModifiers, MenuBuilder, Reedline,
    ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};

use crate::command::{COMMANDS, Command, parse};
use crate::complete::{Completions, Known, Live};
use crate::highlight::Colours;
use crate::hint::Hints;
use crate::prompt::Plain;
use crate::script::{declared, is_open, playbook};

/// The most lines that the history keeps.
pub const HISTORY_LINES_MAX: usize = 10_000;
/// The name of the completion menu.
const MENU: &str = "completion_menu";
/// The widest description beside the menu, in columns.
const DESCRIPTION_COLUMNS_MAX: u16 = 60;

/// Why an input came to nothing.
#[derive(Debug, Default)]
pub struct Problem {
    /// What to tell.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into.
    pub sources: BTreeMap<String, Arc<str>>,
    /// Whether there is no session any more.
    pub ends: bool,
}

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], ..Self::default() }
    }
}

/// What the prompt asks: who evaluates inputs, and who knows things.
pub trait Desk {
    /// Evaluates an input that parses.
    ///
    /// # Errors
    /// When it throws, is refused, or there is no session any more.
    fn evaluate(&mut self, text: &str) -> Result<Value, Problem>;

    /// Begins a new session.
    ///
    /// # Errors
    /// When that is not possible.
    fn reset(&mut self) -> Result<(), Problem>;

    /// Carries out [`Command::Help`] with a name, [`Command::Runs`], [`Command::Plan`] and [`Command::Dry`].
    ///
    /// # Errors
    /// When it fails.
    fn tool(&mut self, command: &Command) -> Result<(), Problem>;

    /// Reads a file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, path: &str) -> Result<String, Problem>;

    /// Writes a new file; one that exists is left alone.
    ///
    /// # Errors
    /// What the system says.
    fn write(&mut self, path: &str, text: &str) -> Result<(), Problem>;

    /// Has a text edited by a person.
    ///
    /// # Errors
    /// When there is no editor, or it fails.
    fn edit(&mut self, text: &str) -> Result<String, Problem>;

    /// Prints to standard output.
    fn print(&mut self, text: &str);

    /// Prints to standard error.
    fn say(&mut self, text: &str);

    /// Monotonic time since some moment.
    fn elapsed(&self) -> Duration;

    /// The next line of standard input, where that is no terminal; none at its end.
    fn line(&mut self) -> Option<String>;
}

/// How the prompt looks and what it knows at its start.
pub struct Settings {
    /// Everything that scripts can call.
    pub catalog: Arc<Catalog>,
    /// How output is written.
    pub style: Style,
    /// Whether a person types.
    pub interactive: bool,
    /// The history file.
    pub history: Option<PathBuf>,
    /// What stands before the angle.
    pub name: String,
    /// The inputs of a session that goes on.
    pub inputs: Vec<String>,
    /// Variables that exist beside those of the inputs.
    pub variables: Vec<String>,
    /// What exists of a kind, for completion.
    pub live: Arc<dyn Live>,
}

/// An input is complete when no bracket is open.
struct Brackets;

impl Validator for Brackets {
    fn validate(&self, line: &str) -> ValidationResult {
        if !line.starts_with(':') && is_open(line) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Complete
        }
    }
}

struct Shell<'a> {
    desk: &'a mut dyn Desk,
    settings: &'a Settings,
    known: Arc<Mutex<Known>>,
    functions: Vec<String>,
    /// The inputs that were carried out, for `:save`.
    inputs: Vec<String>,
    last_input: String,
    timing: bool,
}

/// Whether the loop goes on.
type GoesOn = bool;

/// Reads and evaluates until the end of input.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(desk: &mut dyn Desk, settings: &Settings) -> Result<(), Problem> {
    let mut variables = settings.variables.clone();
    variables.push("last".to_owned());
    let known = Known { variables, live: Arc::clone(&settings.live) };
    let mut shell = Shell {
        desk,
        settings,
        known: Arc::new(Mutex::new(known)),
        functions: Vec::new(),
        inputs: settings.inputs.clone(),
        last_input: String::new(),
        timing: false,
    };
    settings.inputs.iter().for_each(|input| shell.learn(input));
    if settings.interactive { shell.prompt() } else { shell.lines() }
}

impl Shell<'_> {
    /// Lines from a file or a pipe: no prompt, no history.
    fn lines(&mut self) -> Result<(), Problem> {
        let mut text = String::new();
        while let Some(line) = self.desk.line() {
            text.push_str(&line);
            if is_open(&text) && !text.starts_with(':') {
                text.push('\n');
                continue;
            }
            if !self.take(&std::mem::take(&mut text)) {
                return Ok(());
            }
        }
        if !text.trim().is_empty() {
            self.take(&text);
        }
        Ok(())
    }

    fn prompt(&mut self) -> Result<(), Problem> {
        let prompt = Plain { name: self.settings.name.clone() };
        let mut editor = self.editor()?;
        loop {
            match editor.read_line(&prompt) {
                Ok(Signal::Success(text)) => {
                    if !self.take(&text) {
                        return Ok(());
                    }
                }
                Ok(Signal::CtrlD) => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    let text = format!("the terminal cannot be used: {error}");
                    return Err(Diagnostic::error(Code::Usage, text).into());
                }
            }
        }
    }

    fn editor(&self) -> Result<Reedline, Problem> {
        let catalog = &self.settings.catalog;
        let menu = IdeMenu::default()
            .with_name(MENU)
            .with_default_border()
            .with_description_mode(DescriptionMode::PreferRight)
            .with_max_description_width(DESCRIPTION_COLUMNS_MAX);
        let mut keys = default_emacs_keybindings();
        keys.add_binding(
            KeyModifiers::NONE,
            KeyCode::Tab,
            ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]),
        );
        let completions = Completions { catalog: Arc::clone(catalog), known: Arc::clone(&self.known) };
        let mut editor = Reedline::create()
            .with_completer(Box::new(completions))
            .with_partial_completions(true)
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_validator(Box::new(Brackets))
            .with_hinter(Box::new(Hints::new(Arc::clone(catalog), Arc::clone(&self.settings.live))))
            .use_bracketed_paste(true)
            .with_ansi_colors(self.settings.style.color);
        if self.settings.style.color {
            editor = editor.with_highlighter(Box::new(Colours { catalog: Arc::clone(catalog) }));
        }
        if let Some(file) = &self.settings.history {
            let history = FileBackedHistory::with_file(HISTORY_LINES_MAX, file.clone()).map_err(|error| {
                Diagnostic::error(Code::StateUnusable, format!("{}: {error}", file.display()))
            })?;
            editor = editor.with_history(Box::new(history));
        }
        Ok(editor)
    }

    /// Takes one input.
    fn take(&mut self, text: &str) -> GoesOn {
        if text.trim().is_empty() {
            return true;
        }
        match parse(text) {
            Ok(Some(Command::Quit)) => false,
            Ok(Some(command)) => match self.command(command) {
                Ok(goes_on) => goes_on,
                Err(problem) => self.tell(&problem),
            },
            Ok(None) => self.evaluate(text),
            Err(problem) => self.tell(&Diagnostic::error(Code::Usage, problem).into()),
        }
    }

    fn evaluate(&mut self, text: &str) -> GoesOn {
        text.trim_end().clone_into(&mut self.last_input);
        if let Err(problem) = self.check(text) {
            return self.tell(&problem);
        }
        let begun = self.desk.elapsed();
        let result = self.desk.evaluate(text);
        let took = self.desk.elapsed().saturating_sub(begun);
        let goes_on = match result {
            Ok(value) => {
                self.inputs.push(text.trim_end().to_owned());
                if !text.trim_end().ends_with(';') {
                    self.desk.print(&records::render(&value, self.settings.style));
                }
                true
            }
            Err(problem) => self.tell(&problem),
        };
        // What was declared before an error is there.
        self.learn(text);
        if self.timing {
            self.desk.say(&format!("took {}", human::duration(took)));
        }
        goes_on
    }

    /// Refuses what cannot work before anything of it happens.
    fn check(&self, text: &str) -> Result<(), Problem> {
        struct One<'a>(&'a str);
        impl hob_engine::Loader for One<'_> {
            fn read(&self, path: &str) -> Result<Vec<u8>, String> {
                match path {
                    INPUT => Ok(self.0.as_bytes().to_vec()),
                    _ => Err("a session imports nothing; `:load` reads a file".to_owned()),
                }
            }
        }
        const INPUT: &str = "input.rhai";
        let variables = self.known.lock().map(|known| known.variables.clone()).unwrap_or_default();
        let request = hob_check::Request {
            root: INPUT,
            loader: &One(text),
            cwd: std::path::Path::new("/"),
            given: &variables,
            functions: &self.functions,
        };
        let checked = hob_check::check(&self.settings.catalog, &request);
        let errors: Vec<Diagnostic> =
            checked.findings.into_iter().filter(|finding| finding.level == hob_model::Level::Error).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(Problem { diagnostics: errors, sources: checked.files, ends: false })
    }

    /// Notes what an input declared.
    fn learn(&mut self, text: &str) {
        let (variables, functions) = declared(&self.settings.catalog, text);
        self.functions.extend(functions);
        if let Ok(mut known) = self.known.lock() {
            for name in variables {
                if !known.variables.contains(&name) {
                    known.variables.push(name);
                }
            }
        }
    }

    fn tell(&mut self, problem: &Problem) -> GoesOn {
        let sources = |file: &str| problem.sources.get(file).cloned();
        let text = render_all(&problem.diagnostics, &sources, self.settings.style);
        self.desk.say(text.trim_end());
        !problem.ends
    }

    fn command(&mut self, command: Command) -> Result<GoesOn, Problem> {
        match command {
            Command::Quit => return Ok(false),
            Command::Help(None) => {
                let mut table = Table::new(["", ""].map(Column::new));
                for (form, what) in COMMANDS {
                    table.row([form, what]);
                }
                let shown = table.render(self.settings.style);
                self.desk.print(&shown);
                self.desk.print("`hob doc` lists the primitives; help(files) explains one\n");
            }
            Command::Vars => {
                let names = self.known.lock().map(|known| known.variables.join("\n")).unwrap_or_default();
                self.desk.print(&format!("{names}\n"));
            }
            Command::Time => {
                self.timing = !self.timing;
                self.desk.say(if self.timing { "inputs are timed" } else { "inputs are timed no more" });
            }
            Command::Edit => {
                let text = self.desk.edit(&self.last_input.clone())?;
                if !text.trim().is_empty() {
                    self.desk.say(text.trim_end());
                    return Ok(self.evaluate(&text));
                }
            }
            Command::Save(path) => {
                let text = playbook(&self.settings.catalog, &self.inputs);
                self.desk.write(&path, &text)?;
                self.desk.say(&format!("{} input(s) written to {path}", self.inputs.len()));
            }
            Command::Load(path) => {
                let text = self.desk.read(&path)?;
                return Ok(self.evaluate(&text));
            }
            Command::Reset => {
                self.desk.reset()?;
                self.inputs.clear();
                self.functions.clear();
                if let Ok(mut known) = self.known.lock() {
                    known.variables = vec!["last".to_owned()];
                }
                self.desk.say("a new session");
            }
            tool => self.desk.tool(&tool)?,
        }
        Ok(true)
    }
}
