//! `hob repl`: from a pipe, and in a terminal of `tmux`, as a person uses it.

use std::process::Command;

use hob_tests::home::Home;
use hob_tests::{until, within};

use crate::{home, set_mode};

/// How long what a key brings may take before the key is pressed again.
const ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// How often the server of a terminal is started before a test gives up.
const SERVER_STARTS_MAX: usize = 10;

/// A terminal; it ends with what runs in it when it is dropped. Its server has a socket of its own in the test's
/// directory, whose processes are ended with the test.
struct Terminal<'a> {
    home: &'a Home,
}

impl<'a> Terminal<'a> {
    /// Starts hob in a terminal of 100 columns and 30 rows, and waits for its prompt.
    fn start(home: &'a Home, args: &[&str]) -> Self {
        let it = Self { home };
        let hob = home.command(args);
        let program = hob.get_program().to_string_lossy().into_owned();
        let words =
            std::iter::once(program).chain(hob.get_args().map(|arg| arg.to_string_lossy().into_owned()));
        let line: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        it.serve();
        let mut command = it.tmux(&["respawn-pane", "-k"]);
        command.arg(format!("env HOB_STATE='{}' {}; exec cat", home.state().display(), line.join(" ")));
        let started = command.output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        it.waits_for_prompt();
        it
    }

    /// Starts the server with a terminal that does nothing. On a loaded machine a server of tmux may end while its
    /// first client still waits for it, so this is repeated; hob starts only in a server that answers, once.
    fn serve(&self) {
        let mut said = Vec::new();
        for _ in 0..SERVER_STARTS_MAX {
            let new = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "exec cat"];
            let started = self.tmux(&new).output().unwrap();
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
    fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).trim_end().to_owned()
    }

    fn waits_for(&self, text: &str) -> String {
        until(&format!("the terminal shows {text:?}; it shows\n{}", self.screen()), || {
            let screen = self.screen();
            screen.contains(text).then_some(screen)
        })
    }

    /// Waits for the prompt in the last line, with nothing typed.
    fn waits_for_prompt(&self) -> String {
        until("the prompt", || {
            let screen = self.screen();
            has_prompt(&screen).then_some(screen)
        })
    }

    /// Types, and waits until it stands there: keys that come together are taken for a paste.
    fn types(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", text]).status().unwrap().success());
        self.waits_for(text);
    }

    /// Drops what is being typed. An Escape before it that is read together with it makes another key of both, so it is
    /// pressed again where nothing comes of it.
    fn drops(&self) {
        until("the prompt", || {
            self.presses("C-c");
            within(ANSWER_MAX, || has_prompt(&self.screen()).then_some(()))
        });
    }

    fn presses(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().unwrap().success());
    }

    fn enters(&self, text: &str) -> String {
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

#[test]
fn lines_from_a_pipe_are_one_session() {
    let home = home();
    let script = "let n = 20\nfn twice(x) {\n  x * 2\n}\nn + 1\nlast\ntwice(n)\nfiles::write(\"a.txt\", `n is ${n}`);\nfiles::read(\"a.txt\")\n";
    let ran = home.hob_with(&["repl"], script).exits(0);
    assert_eq!(ran.out(), "21\n21\n40\nn is 20");
    let runs = home.json(&["runs", "list"]);
    assert_eq!((&runs[0]["name"], &runs[0]["status"]), (&"repl".into(), &"succeeded".into()));

    // What cannot work acts on nothing, and what fails ends the input alone.
    let ran = home.hob_with(
        &["repl"],
        "files::remov(\"a.txt\")\nfiles::read(\"b.txt\")\n1 / 0\nfiles::exists(\"a.txt\")\n",
    );
    let ran = ran.exits(1);
    assert_eq!(ran.out(), "true");
    assert!(
        ran.says("did you mean `files::remove`?") && ran.says("HOB-0202") && ran.says("1 | 1 / 0"),
        "{ran:?}"
    );
}

#[test]
fn a_session_beside_a_daemon_is_its_run() {
    let home = home();
    home.write("lab/homelab.rhai", "homelab(#{ name: \"lab\" });\n");
    let mut up = home.up("lab", &[]);
    let ran = home
        .hob_with(&["repl"], "let a = 1\nsleep(\"10ms\"); a + 1\nlog::info(\"seen\")\nlast + 1\n")
        .exits(0);
    assert_eq!(ran.out(), "2\n3");
    assert!(ran.says("seen"), "{ran:?}");
    assert_eq!(home.json(&["runs", "list"])[0]["status"], "succeeded");
    up.stop();
}

#[test]
fn a_session_is_typed_in_a_terminal() {
    let home = home();
    let terminal = Terminal::start(&home, &["repl"]);

    // The completion menu, with documentation beside it.
    terminal.types("files::wri");
    terminal.presses("Tab");
    terminal.waits_for("files::write");
    terminal.drops();
    terminal.types("files::re");
    terminal.presses("Tab");
    let menu = terminal.waits_for("remove");
    assert!(menu.contains("read"), "{menu}");
    terminal.drops();

    // More than one line, a table, an error with its caret.
    terminal.types("let rows = [");
    terminal.presses("Enter");
    terminal.waits_for("...");
    terminal.enters("#{ name: \"one\", size: 1 }, #{ name: \"two\", size: 2 }]");
    let table = terminal.enters("rows");
    assert!(table.contains("NAME") || table.contains("name"), "{table}");
    let error = terminal.enters("files::raed(\"a\")");
    assert!(error.contains("^^^^") && error.contains("files::read"), "{error}");

    // Ctrl-C ends the effect and not the session.
    terminal.types("sleep(\"1h\")");
    terminal.presses("Enter");
    until(&format!("it sleeps; the terminal shows\n{}", terminal.screen()), || {
        let runs = home.json(&["runs", "list"]);
        let run = runs[0]["run"].as_str()?.to_owned();
        home.hob(&["runs", "show", &run]).out().contains("sleep").then_some(())
    });
    terminal.presses("C-c");
    terminal.waits_for("interrupted");
    terminal.waits_for_prompt();
    let goes_on = terminal.enters("rows.len() + 40");
    assert!(goes_on.contains("42"), "{goes_on}");

    terminal.enters(":save play.rhai");
    assert!(home.read("play.rhai").contains("rows.len() + 40"));
    assert!(home.hob(&["run", "play.rhai"]).out().ends_with("42"));
    terminal.presses("C-d");
    until("the session ends", || {
        (home.json(&["runs", "list", "--name", "repl"])[0]["status"] == "succeeded").then_some(())
    });
    drop(terminal);

    // The history outlives the session.
    let terminal = Terminal::start(&home, &["repl"]);
    terminal.presses("Up");
    terminal.presses("Up");
    terminal.waits_for("rows.len() + 40");
}

#[test]
fn commands_work_beside_inputs() {
    let home = home();
    home.write("homelab.rhai", HOMELAB);
    home.write("more.rhai", "let loaded = 40;\nfn twice(x) { x * 2 }\n");
    let editor = home.write("editor", "#!/bin/sh\nsed -i 's/20/21/' \"$1\"\n");
    set_mode(&editor, 0o755);
    let home = home.with_env("VISUAL", editor);
    let script = "help(files::write)\n:load more.rhai\ntwice(loaded)\n:dry files::write(\"dry.txt\", \"x\")\nlast + 20\n:edit\n:time\n1\n:time\n\
                  :runs\n:plan\n:save saved.rhai\n:vars\n:reset\nloaded\n";
    let ran = home.hob_with(&["repl"], script).exits(1);
    let (out, said) = (ran.out(), format!("{ran:?}"));
    // The file, the dry run that acts on nothing, the last input as the editor left it.
    assert!(out.starts_with("files::write(") && out.contains("```rhai"), "{said}");
    assert!(out.contains("\n80\n") && out.contains("\n100\n121\n1\n"), "{said}");
    assert!(said.contains("would files::write") && !home.path("dry.txt").exists(), "{said}");
    assert_eq!(said.matches("took ").count(), 1, "{said}");
    assert!(out.contains("repl") && out.contains("RUN"), "{said}");
    assert!(out.contains("web"), "the plan names the service: {said}");
    let saved = home.read("saved.rhai");
    assert!(saved.contains("twice(loaded)") && !saved.contains(":dry"), "{saved}");
    assert!(home.hob(&["check", "saved.rhai"]).exits(0).out().is_empty());
    // A new session knows nothing of the old one, which stays in the journal.
    assert!(ran.says("a new session") && ran.says("`loaded`"), "{said}");
    let runs = home.json(&["runs", "list", "--name", "repl"]);
    assert_eq!(runs.as_array().map(Vec::len), Some(2), "{runs}");

    let ran =
        home.hob_with(&["repl"], ":runs repl\n:runs nothing\n:save saved.rhai\n:load gone.rhai\n:sav x\n");
    let ran = ran.exits(1);
    assert_eq!(ran.out().matches("succeeded").count(), 2, "{ran:?}");
    for text in ["HOB-0", "nothing", "choose another name", "gone.rhai", "did you mean `:save`?"] {
        assert!(ran.says(text), "{text}: {ran:?}");
    }
    assert_eq!(home.read("saved.rhai"), saved);
}

/// A homelab with something of each kind that has a name.
const HOMELAB: &str = "homelab(#{ name: \"lab\" });\ntier(\"core\");\n\
    service(\"web\", #{ tier: \"core\", command: [\"sleep\", \"1000\"] });\n\
    schedule(\"tidy\", \"0 4 * * *\", || log::info(\"tidied\"));\n\
    workflow(\"greet\", #{ on: manual() }, || \"hello\");\n";

#[test]
fn what_exists_is_completed() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    let terminal = Terminal::start(&home, &["repl"]);
    for (typed, exists) in
        [("services::status(\"", "web"), ("invoke(\"", "greet"), (":runs ti", "tidy"), (":runs 0", "repl")]
    {
        terminal.types(typed);
        // The first look may come before the names.
        until(&format!("{exists} is offered; the terminal shows\n{}", terminal.screen()), || {
            terminal.presses("Tab");
            within(ANSWER_MAX, || terminal.screen().contains(exists).then_some(())).or_else(|| {
                terminal.presses("Escape");
                None
            })
        });
        terminal.presses("Escape");
        terminal.drops();
    }
    drop(terminal);
    up.stop();
}

#[test]
fn what_was_typed_is_searched() {
    let home = home();
    let terminal = Terminal::start(&home, &["repl"]);
    terminal.enters("let needle = 6 * 7");
    terminal.enters("let hay = 1");
    terminal.presses("C-d");
    until("the session ends", || {
        (home.json(&["runs", "list", "--name", "repl"])[0]["status"] == "succeeded").then_some(())
    });
    drop(terminal);
    let terminal = Terminal::start(&home, &["repl"]);
    terminal.presses("C-r");
    terminal.waits_for("match:");
    terminal.types("needle");
    terminal.waits_for("let needle = 6 * 7");
    // The first takes it over, the second gives it to hob.
    terminal.presses("Enter");
    terminal.presses("Enter");
    terminal.waits_for_prompt();
    let screen = terminal.enters("needle");
    assert!(screen.contains("42"), "{screen}");
}

#[test]
fn a_session_goes_on_after_a_crash() {
    let home = home();
    let terminal = Terminal::start(&home, &["repl"]);
    terminal.enters("files::append(\"log\", \"once\\n\")");
    terminal.enters("let kept = 41");
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    for seen in
        home.living().into_iter().filter(|seen| seen.line.contains("repl") && !seen.line.contains("tmux"))
    {
        hob_tests::process::signal_pid(seen.pid, rustix::process::Signal::KILL);
    }
    drop(terminal);

    let terminal = Terminal::start(&home, &["repl", "--resume", &run]);
    let screen = terminal.enters("kept + 1");
    assert!(screen.contains("42"), "{screen}");
    assert_eq!(home.read("log"), "once\n");
}

#[test]
fn an_old_run_is_looked_into() {
    let home = home();
    home.write(
        "play.rhai",
        "let first = 20;\nfiles::write(\"a\", \"x\");\nlet second = 22;\nfiles::write(\"b\", \"y\");\n",
    );
    let _ = home.hob(&["run", "play.rhai"]).exits(0);
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    let terminal = Terminal::start(&home, &["replay", &run, "--at", "2"]);
    let screen = terminal.enters("first + second");
    assert!(screen.contains("42"), "{screen}");
    let screen = terminal.enters("files::write(\"c\", \"z\")");
    assert!(screen.contains("HOB-0106"), "{screen}");
    assert!(!home.path("c").exists());
}
