//! `hob repl`: from a pipe, and in a terminal of `tmux`, as a person uses it.

use hob_tests::home::Home;
use hob_tests::terminal::{ANSWER_MAX, Terminal};
use hob_tests::{until, within};

use crate::{home, set_mode};

/// Starts hob in a terminal and waits for its prompt.
fn prompt<'a>(home: &'a Home, args: &[&str]) -> Terminal<'a> {
    let terminal = Terminal::start(home, args);
    terminal.waits_for_prompt();
    terminal
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
    let terminal = prompt(&home, &["repl"]);

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
    let terminal = prompt(&home, &["repl"]);
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
    let terminal = prompt(&home, &["repl"]);
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
    let terminal = prompt(&home, &["repl"]);
    terminal.enters("let needle = 6 * 7");
    terminal.enters("let hay = 1");
    terminal.presses("C-d");
    until("the session ends", || {
        (home.json(&["runs", "list", "--name", "repl"])[0]["status"] == "succeeded").then_some(())
    });
    drop(terminal);
    let terminal = prompt(&home, &["repl"]);
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
    let terminal = prompt(&home, &["repl"]);
    terminal.enters("files::append(\"log\", \"once\\n\")");
    terminal.enters("let kept = 41");
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    for seen in
        home.living().into_iter().filter(|seen| seen.line.contains("repl") && !seen.line.contains("tmux"))
    {
        hob_tests::process::signal_pid(seen.pid, rustix::process::Signal::KILL);
    }
    drop(terminal);

    let terminal = prompt(&home, &["repl", "--resume", &run]);
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
    let terminal = prompt(&home, &["replay", &run, "--at", "2"]);
    let screen = terminal.enters("first + second");
    assert!(screen.contains("42"), "{screen}");
    let screen = terminal.enters("files::write(\"c\", \"z\")");
    assert!(screen.contains("HOB-0106"), "{screen}");
    assert!(!home.path("c").exists());
}
