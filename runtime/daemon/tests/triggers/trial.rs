//! Tests that are scripts: mocks in place of operations, and a clock that goes on by itself.

use std::path::Path;
use std::sync::Arc;

use hob_daemon::declared::read_homelab;
use hob_daemon::settings::Settings;
use hob_daemon::trial::{Subject, Trial};
use hob_engine::{Base, Bundle, Host, InlinePerformer};
use hob_journal::MemoryJournal;
use hob_primitive::{Ports, Registry};
use hob_testkit::TestClock;

/// Doors that no test opens.
#[hob_primitive::primitive(name = "doors")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Probe};

    fn noted(_cx: &Ctx, _args: Args) -> Result<Value, OpError> {
        panic!("a test looks at no door")
    }

    fn was_opened(_cx: &Ctx, _args: Args) -> Result<Probe, OpError> {
        panic!("a test asks no door")
    }

    /// Opens a door.
    ///
    /// Class `keyed`: a door knows who opened it.
    ///
    /// ```rhai,no_run
    /// doors::open("front")
    /// ```
    #[operation(keyed, intent = noted, probe = was_opened)]
    async fn open(_cx: &Ctx, _door: String) -> Result<i64, OpError> {
        panic!("a test opens no door")
    }

    /// Looks at a door.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// doors::look("front")
    /// ```
    #[operation(observe)]
    fn look(_cx: &Ctx, _door: String) -> Result<String, OpError> {
        panic!("a test looks at no door")
    }

    /// Turns a name into that of a door.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// doors::name("front") == "door front"
    /// ```
    #[operation(pure)]
    fn name(text: String) -> Result<String, OpError> {
        Ok(format!("door {text}"))
    }
}

const HOMELAB: &str = r#"
homelab(#{ name: "tested", timezone: "UTC" });
schedule("nightly", "0 4 * * *", |slot| doors::open(slot.nominal));
workflow("patient", #{ on: manual() }, |input| {
    let name = wait_signal("name");
    let event = wait_for("door.*");
    let yes = approve("go on?");
    sleep("3d");
    let answers = [];
    for n in 0..3 { answers.push(doors::look(doors::name(name))); }
    let opened = retry(#{ attempts: 3, backoff: "1h" }, || doors::open(name));
    log::info(`opened ${opened}`);
    emit("patient.done", #{ name: name });
    #{ name: name, which: event.payload.which, yes: yes, answers: answers, opened: opened }
});
"#;

/// What each test of a file came to: its name, and why it failed.
fn play(tests: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let registry = Arc::new(Registry::new(vec![api::primitive()]).unwrap());
    let host = Arc::new(Host::new(
        Arc::new(MemoryJournal::default()),
        Arc::clone(&registry),
        Arc::new(Ports::default()),
        Arc::new(TestClock::default()),
        Arc::new(InlinePerformer),
    ));
    let bundle = |name: &str, text: &str| Arc::new(Bundle::of_text(name, text, "/lab", "host"));
    let lab = bundle("homelab.rhai", HOMELAB);
    let base = Base { directory: Path::new("/lab"), home: None };
    let (homelab, _) = read_homelab(&host, &lab, base, &Settings::default()).unwrap();
    let subject = Subject { homelab: &homelab, bundle: &lab, registry: &registry };
    let trial = Trial::read(&host, &bundle("tests/one.rhai", tests));
    let trial = trial.map_err(|problems| format!("{problems:?}"))?;
    Ok(trial.tests.iter().map(|test| (test.name.clone(), trial.play(test, &subject).unwrap())).collect())
}

/// Why the one test with these options fails, if it does.
fn one(options: &str, judge: &str) -> Result<Option<String>, String> {
    let played = play(&format!("test(\"one\", #{{ {options} }}, |run| {judge});"))?;
    Ok(played.into_iter().next().and_then(|(_, problem)| problem))
}

const SENT: &str = r#"run: "patient", signals: #{ name: "Ada" }, approve: true,
    events: [#{ name: "window.opened" }, #{ name: "door.opened", payload: #{ which: 2 } }]"#;

#[test]
fn a_run_gets_what_its_test_says() {
    let mocks =
        r#"mocks: #{ "doors::open": |door| door.len(), "doors::look": #{ in_turn: ["shut", "open"] } }"#;
    let judge = r#"run.status == "succeeded"
        && run.output == #{ name: "Ada", which: 2, yes: true, answers: ["shut", "open", "open"], opened: 3 }
        && run.calls.map(|it| it.operation) == ["doors::look", "doors::look", "doors::look", "doors::open"]
        && run.calls[0].args == ["door Ada"] && run.calls[3].result == 3
        && run.log == [#{ level: "info", message: "opened 3" }]
        && run.events == [#{ name: "patient.done", payload: #{ name: "Ada" } }]
        && run.now == "2026-03-30T11:00:00Z""#;
    let options = format!("{SENT}, now: \"2026-03-27T12:00:00+01:00\", {mocks}");
    assert_eq!(one(&options, judge), Ok(None));
    // A schedule gets its slot.
    let nightly = r#"run: "nightly", now: "2026-05-01T04:00:00Z", mocks: #{ "doors::open": 1 }"#;
    assert_eq!(one(nightly, r#"run.calls[0].args == ["2026-05-01T04:00:00Z"]"#), Ok(None));
}

#[test]
fn what_fails_is_tried_again_and_pauses_pass_at_once() {
    let down = r#"|| throw #{ kind: "failed", message: "it is stuck" }"#;
    let options = format!("{SENT}, mocks: #{{ \"doors::look\": \"shut\", \"doors::open\": {down} }}");
    let judge = r#"run.status == "failed" && run.error.message == "it is stuck" && run.calls.len() == 6
        && run.now > "2026-01-04T00:30""#;
    assert_eq!(one(&options, judge), Ok(None));
}

#[test]
fn a_test_fails_for_a_reason() {
    let both = r#"mocks: #{ "doors::open": 1, "doors::look": "shut" }"#;
    for (options, judge, said) in [
        (SENT.to_owned(), "true", "`doors::look` was called and has no mock"),
        (
            r#"run: "patient""#.to_owned(),
            "false",
            "its function gave false; the run is waiting, after no call",
        ),
        (format!("{SENT}, {both}"), "1", "its function gave int and neither true nor false"),
        (format!("{SENT}, {both}"), "{ throw \"not so\" }", "not so; the run succeeded, after doors::look"),
        (format!("{SENT}, {both}"), "{ doors::look(\"x\"); true }", "`doors::look`"),
        (r#"run: "patent""#.to_owned(), "true", "did you mean `patient`?"),
    ] {
        let problem = one(&options, judge).unwrap().unwrap_or_default();
        assert!(problem.contains(said), "{options} {judge}: {problem}");
    }
}

#[test]
fn mistakes_of_a_test_are_told() {
    for (options, said) in [
        (r#"run: "patient", mock: #{}"#, "did you mean `mocks`?"),
        (r#"run: "patient", mocks: #{ "doors::opem": 1 }"#, "did you mean `doors::open`?"),
        (r#"run: "patient", mocks: #{ "doors::name": 1 }"#, "only computes"),
        (r#"run: "patient", mocks: #{ "doors::open": #{ in_turn: [] } }"#, "takes an array of results"),
        (r#"run: "patient", now: "noon""#, "expected a time with an offset"),
        (r#"run: "patient", signals: 1"#, "expected a map of names and payloads"),
        (r#"run: "patient", events: [1]"#, "expected an array of maps"),
        (r#"run: "patient", input: || 1"#, "`input` takes no function"),
        ("now: \"2026-01-01T00:00:00Z\"", "`run`: expected the name"),
    ] {
        let problems = one(options, "true").unwrap_err();
        assert!(problems.contains(said), "{options}: {problems}");
    }
    let both = play(
        r#"test("a", #{ run: "patient" }, |run| true); tier("b"); test("a", #{ run: "patient" }, |run| true);"#,
    );
    let both = both.unwrap_err();
    assert!(both.contains("a file of tests declares tests") && both.contains("declared before"), "{both}");
}
