//! Sessions that a document shows: their commands are run, and what they print is compared.
//!
//! Lines that begin with `$ ` are commands of a shell; the lines below one are what it prints. `…` stands for any text
//! in a line, and alone for any lines. A command that fails is followed by `$ echo $?`. `hob up … &` goes on in the
//! background until `kill %N` or `kill -9 %N`; it listens on a free port, which stands in for 4620.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regex::Regex;
use tempfile::TempDir;

use crate::markdown::{Block, parts};

/// How long a command, or the start of a server, may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The address that documents name.
const DOCUMENTED: &str = "127.0.0.1:4620";
/// What a server prints when it has begun.
const READY: &str = "ready; ";
/// What ends the output of each command.
const END: &str = "--- end of command, status ";

/// A command, and what the document says it prints.
struct Step {
    command: String,
    expected: Vec<String>,
}

/// A `hob up` in the background.
struct Server {
    child: Child,
    address: String,
}

/// One reader's terminal.
pub struct Session {
    hob: PathBuf,
    home: TempDir,
    server: Option<Server>,
}

impl Session {
    /// In an empty home directory, with the binary `hob`.
    #[must_use]
    pub fn new(hob: &Path) -> Self {
        Self { hob: hob.to_owned(), home: tempfile::tempdir().unwrap(), server: None }
    }

    /// Follows a page to the letter: writes its files, runs its commands.
    ///
    /// # Errors
    /// The first command that does something else than the page says.
    pub fn play(&mut self, markdown: &str) -> Result<(), String> {
        for block in parts(markdown).blocks {
            if let Some(name) = block.value("file") {
                self.write(name, &block.text);
            } else if block.is("console") {
                self.run(&block).map_err(|problem| format!("line {}: {problem}", block.line))?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.home.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        // Whatever the umask: a script that others may write is not trusted.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn run(&mut self, block: &Block) -> Result<(), String> {
        let mut together: Vec<Step> = Vec::new();
        for step in steps(&block.text) {
            if step.command.ends_with('&') || step.command.starts_with("kill ") {
                self.shell(&std::mem::take(&mut together))?;
                self.job(&step)?;
            } else {
                together.push(step);
            }
        }
        self.shell(&together)
    }

    fn job(&mut self, step: &Step) -> Result<(), String> {
        let printed = match step.command.strip_suffix('&') {
            Some(command) => self.serve(command.trim()),
            None => self.end_server(if step.command.contains("-9") { "KILL" } else { "TERM" }),
        };
        compare(step, &printed)
    }

    /// Runs commands in one shell, so that a later one sees the variables of an earlier one.
    fn shell(&self, steps: &[Step]) -> Result<(), String> {
        if steps.is_empty() {
            return Ok(());
        }
        let one = |step: &Step| {
            format!("{{ {}\n}} 2>&1; status=$?; echo; echo \"{END}$status\"; (exit $status)\n", step.command)
        };
        let script: String = steps.iter().map(one).collect();
        let limit = DEADLINE.as_secs().to_string();
        let mut command = self.command("timeout");
        command.args([&limit, "bash", "-c", &self.addressed(&script)]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut rest = text.as_str();
        for (at, step) in steps.iter().enumerate() {
            let (printed, after) = rest
                .split_once(&format!("\n{END}"))
                .ok_or_else(|| format!("`{}` did not end: {rest}", step.command))?;
            let (status, after) = after.split_once('\n').unwrap_or((after, ""));
            rest = after;
            compare(step, &self.documented(printed))?;
            let looked_at = steps.get(at + 1).is_some_and(|next| next.command == "echo $?");
            if status != "0" && !looked_at {
                return Err(format!("`{}` ended with status {status}:\n{printed}", step.command));
            }
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let bin = self.hob.parent().unwrap().display();
        let home = self.home.path();
        let mut command = Command::new(program);
        command.current_dir(home).env_clear().envs([
            ("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin")),
            ("HOME", home.display().to_string()),
            ("HOB_STATE", home.join(".state").display().to_string()),
            ("LANG", "C.UTF-8".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]);
        command
    }

    /// A command of the document, with the address that is listened on.
    fn addressed(&self, text: &str) -> String {
        self.server.as_ref().map_or(text.to_owned(), |server| text.replace(DOCUMENTED, &server.address))
    }

    /// What was printed, with the address that the document names.
    fn documented(&self, text: &str) -> String {
        self.server.as_ref().map_or(text.to_owned(), |server| text.replace(&server.address, DOCUMENTED))
    }

    /// Starts a server and gives what it prints until it is ready.
    fn serve(&mut self, command: &str) -> String {
        self.end_server("TERM");
        let line = format!("exec {command} --listen 127.0.0.1:0 2>&1");
        let mut child = self
            .command("bash")
            .args(["-c", &line])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let (mut printed, mut address) = (String::new(), String::new());
        while let Ok(line) = lines.recv_timeout(DEADLINE) {
            if let Some((_, rest)) = line.split_once("listening on http://") {
                address = rest.split(',').next().unwrap_or_default().to_owned();
            }
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with(READY) {
                break;
            }
        }
        self.server = Some(Server { child, address });
        self.documented(&printed)
    }

    /// Ends the server, if there is one, and waits for its end.
    fn end_server(&mut self, signal: &str) -> String {
        if let Some(mut server) = self.server.take() {
            let pid = server.child.id().to_string();
            Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
            server.child.wait().unwrap();
        }
        String::new()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end_server("TERM");
    }
}

/// The lines of a stream as they come; it is read to its end, whether anybody listens or not.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
            (None, Some(step)) => step.expected.push(line.to_owned()),
            (None, None) => panic!("a session begins with a command: {line}"),
        }
    }
    steps
}

fn compare(step: &Step, printed: &str) -> Result<(), String> {
    let trimmed: String = printed.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let expected = step.expected.join("\n");
    if pattern(&expected).is_match(&trimmed) {
        return Ok(());
    }
    Err(format!("`{}` should print\n{expected}\nand prints\n{trimmed}", step.command))
}

/// Matches what the document says is printed.
fn pattern(expected: &str) -> Regex {
    let line = |line: &str| match line.trim() {
        "…" => "(?:.*\n)*?".to_owned(),
        _ => format!("{}\n", regex::escape(line.trim_end()).replace('…', ".*")),
    };
    let lines: String = expected.trim_end().lines().map(line).collect();
    Regex::new(&format!("^{lines}$")).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_what_differs() {
        for (expected, printed, matches) in [
            ("", "", true),
            ("a", "", false),
            ("run … is waiting\n", "run 01ab is waiting\n", true),
            ("a\n…\nd", "a\nb\nc\nd\n", true),
            ("a\n…\nd", "a\nd\n", true),
            ("a.c", "abc\n", false),
        ] {
            assert_eq!(pattern(expected).is_match(printed), matches, "{expected:?} {printed:?}");
        }
    }

    #[test]
    fn commands_have_their_output_below_them() {
        let steps = steps("$ a\nb\nc\n$ d\n");
        assert_eq!(steps.iter().map(|step| step.expected.len()).collect::<Vec<_>>(), [2, 0]);
    }
}
