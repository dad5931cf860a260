//! What is no script: `:save FILE`, `help(containers)`.

use hob_model::names::nearest;

/// The commands, with their form and what they do.
pub const COMMANDS: [(&str, &str); 14] = [
    (":help [NAME]", "this list, or the documentation of a primitive or an operation: also help(NAME)"),
    (":vars", "the variables of the session"),
    (":runs [NAME|RUN]", "the newest runs, those of one schedule, workflow or playbook, or one run"),
    (":plan", "what `hob apply` would change, of the homelab in this directory"),
    (":dry INPUT", "an input that only observes, and says what it would do; without the session's variables"),
    (":time", "how long inputs take, from now on or no more"),
    (":edit", "the last input in $VISUAL or $EDITOR"),
    (":save FILE", "the inputs so far, as a playbook"),
    (":load FILE", "a file as one input"),
    (":reset", "a new session; the old one stays in the journal"),
    (":quit", "the end; also Ctrl-D"),
    ("last", "the value of the last input that had one"),
    ("Tab", "what may stand here, with its documentation; Ctrl-R searches what was typed before"),
    ("Ctrl-C", "drops what is being typed, or ends the effect that is under way and not the session"),
];

/// What a line asks for beside evaluating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The commands, or the documentation of a name.
    Help(Option<String>),
    /// The variables.
    Vars,
    /// The newest runs, those of a name, or one.
    Runs(Option<String>),
    /// The plan of the homelab here.
    Plan,
    /// An input as a dry run.
    Dry(String),
    /// Switches the timing.
    Time,
    /// Edits the last input.
    Edit,
    /// Writes the inputs.
    Save(String),
    /// Reads an input.
    Load(String),
    /// Begins anew.
    Reset,
    /// Ends the session.
    Quit,
}

/// Reads a line; none when it is a script.
///
/// # Errors
/// When it begins as a command and is none.
pub fn parse(line: &str) -> Result<Option<Command>, String> {
    let line = line.trim();
    if let Some(name) = help_of(line) {
        return Ok(Some(Command::Help(name)));
    }
    if matches!(line, "exit" | "quit" | "exit()" | "quit()") {
        return Ok(Some(Command::Quit));
    }
    let Some(rest) = line.strip_prefix(':') else { return Ok(None) };
    let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let argument = argument.trim();
    let with = |make: fn(String) -> Command, what: &str| match argument {
        "" => Err(format!("`:{word}` needs {what}: `:{word} {}`", what.to_uppercase())),
        argument => Ok(Some(make(argument.to_owned()))),
    };
    let alone = |command: Command| match argument {
        "" => Ok(Some(command)),
        _ => Err(format!("`:{word}` takes nothing after it")),
    };
    let optional = || (!argument.is_empty()).then(|| argument.to_owned());
    match word {
        "help" | "h" | "?" => Ok(Some(Command::Help(optional()))),
        "vars" => alone(Command::Vars),
        "runs" => Ok(Some(Command::Runs(optional()))),
        "plan" => alone(Command::Plan),
        "dry" => with(Command::Dry, "input"),
        "time" => alone(Command::Time),
        "edit" => alone(Command::Edit),
        "save" => with(Command::Save, "file"),
        "load" => with(Command::Load, "file"),
        "reset" => alone(Command::Reset),
        "quit" | "q" | "exit" => alone(Command::Quit),
        other => Err(unknown(other)),
    }
}

fn unknown(word: &str) -> String {
    let known = COMMANDS.iter().filter_map(|(form, _)| form.strip_prefix(':')?.split(' ').next());
    match nearest(word, known) {
        Some(near) => format!("there is no command `:{word}`; did you mean `:{near}`?"),
        None => format!("there is no command `:{word}`; `:help` lists them"),
    }
}

/// `help`, `help()`, `help(NAME)`, `help("NAME")`.
fn help_of(line: &str) -> Option<Option<String>> {
    let rest = line.strip_prefix("help")?.trim().trim_end_matches(';').trim();
    if rest.is_empty() {
        return Some(None);
    }
    let name = rest.strip_prefix('(')?.strip_suffix(')')?.trim().trim_matches('"');
    let is_name = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':'));
    is_name.then(|| (!name.is_empty()).then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Command, parse};

    #[test]
    fn lines_are_commands_or_scripts() {
        for (line, command) in [
            ("help", Some(Command::Help(None))),
            ("help(containers)", Some(Command::Help(Some("containers".into())))),
            ("help(\"files::write\");", Some(Command::Help(Some("files::write".into())))),
            (":help files", Some(Command::Help(Some("files".into())))),
            ("helper(1)", None),
            ("help(1 + 2)", None),
            (":save  play.rhai ", Some(Command::Save("play.rhai".into()))),
            (":dry files::remove(\"a\")", Some(Command::Dry("files::remove(\"a\")".into()))),
            (":runs", Some(Command::Runs(None))),
            (":runs tidy", Some(Command::Runs(Some("tidy".into())))),
            (":q", Some(Command::Quit)),
            ("exit", Some(Command::Quit)),
            ("1 + 1", None),
            ("let a = 1; a", None),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
        for (line, problem) in [
            (":sav x", "there is no command `:sav`; did you mean `:save`?"),
            (":save", "`:save` needs file: `:save FILE`"),
            (":plan now", "`:plan` takes nothing after it"),
        ] {
            assert_eq!(parse(line), Err(problem.to_owned()), "{line}");
        }
    }
}
