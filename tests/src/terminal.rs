//! A terminal of `tmux`, as a person uses it.

use std::ffi::OsStr;
use std::process::Command;

use crate::home::Home;
use crate::{until, within};

/// How long what a key brings may take before the key is pressed again.
pub const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// How often the server of a terminal is started before a test gives up.
const SERVER_STARTS_MAX: usize = 10;

/// A terminal; it ends with what runs in it when it is dropped. Its server has a socket of its own in the test's
/// directory, whose processes are ended with the test.
pub struct Terminal<'a> {
    home: &'a Home,
}

impl<'a> Terminal<'a> {
    /// Starts hob in a terminal of 100 columns and 30 rows.
    ///
    /// # Panics
    /// When there is no terminal.
    #[must_use]
    pub fn start(home: &'a Home, args: &[&str]) -> Self {
        let it = Self { home };
        let hob = home.command(args);
        let program = hob.get_program().to_string_lossy().into_owned();
        let words =
            std::iter::once(program).chain(hob.get_args().map(|arg| arg.to_string_lossy().into_owned()));
        let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let line: Vec<String> = words.map(|word| quoted(&word)).collect();
        let set = |(name, value): (&str, &OsStr)| format!("{name}={}", quoted(&value.to_string_lossy()));
        let env: Vec<String> =
            [("HOB_STATE", home.state().as_os_str())].into_iter().chain(home.env()).map(set).collect();
        it.serve();
        let mut command = it.tmux(&["respawn-pane", "-k"]);
        command.arg(format!("env {} {}; exec cat", env.join(" "), line.join(" ")));
        let started = command.output().expect("tmux is started");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        it
    }

    /// Starts the server with a terminal that does nothing. On a loaded machine a server of tmux may end while its
    /// first client still waits for it, so this is repeated; hob starts only in a server that answers, once.
    fn serve(&self) {
        let mut said = Vec::new();
        for _ in 0..SERVER_STARTS_MAX {
            let new = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "exec cat"];
            let started = self.tmux(&new).output().expect("tmux is started");
            let answers = || self.tmux(&["has-session"]).status().is_ok_and(|status| status.success());
            if started.status.success() && answers() {
                return;
            }
            said.push(String::from_utf8_lossy(&started.stderr).trim().to_owned());
            let _ = self.tmux(&["kill-server"]).output();
            let _ = std::fs::remove_file(self.home.path("tmux.sock"));
        }
        panic!("no server of tmux within {SERVER_STARTS_MAX} starts: {said:?}");
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.home.path("tmux.sock")).args(args).current_dir(self.home.dir());
        command.env("TERM", "xterm-256color").env_remove("TMUX");
        command
    }

    /// What the terminal shows.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p"]).output().expect("tmux is started");
        String::from_utf8_lossy(&shown.stdout).trim_end().to_owned()
    }

    /// Waits until the terminal shows a text; all that it shows then.
    pub fn waits_for(&self, text: &str) -> String {
        until(&format!("the terminal shows {text:?}; it shows\n{}", self.screen()), || {
            let screen = self.screen();
            screen.contains(text).then_some(screen)
        })
    }

    /// Waits for the prompt in the last line, with nothing typed.
    pub fn waits_for_prompt(&self) -> String {
        until("the prompt", || {
            let screen = self.screen();
            has_prompt(&screen).then_some(screen)
        })
    }

    /// Types, and waits until it stands there: keys that come together are taken for a paste.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", text]).status().expect("tmux is started").success());
        self.waits_for(text);
    }

    /// Drops what is being typed. An Escape before it that is read together with it makes another key of both, so it is
    /// pressed again where nothing comes of it.
    pub fn drops(&self) {
        until("the prompt", || {
            self.presses("C-c");
            within(ANSWER_MAX, || has_prompt(&self.screen()).then_some(()))
        });
    }

    /// Presses a key, by the name that tmux has for it.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn presses(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().expect("tmux is started").success());
    }

    /// Types a line, enters it, and waits for the next prompt; what the terminal shows then.
    pub fn enters(&self, text: &str) -> String {
        self.types(text);
        self.presses("Enter");
        self.waits_for_prompt()
    }
}

/// Whether the prompt is in the last line, with nothing typed.
fn has_prompt(screen: &str) -> bool {
    screen.lines().last().is_some_and(|line| line.trim_end().ends_with('>'))
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}
