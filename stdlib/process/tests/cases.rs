//! The same cases against the fake and the live adapter.

use std::sync::Arc;
use std::time::Duration;

use hob_model::{ErrorKind, OpError, Value};
use hob_std_process::{ProcessPort, fake::Fake, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

fn adapters() -> [(&'static str, Arc<dyn ProcessPort>); 2] {
    let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    [("fake", Arc::new(Fake::new())), ("live", Arc::new(Live::new([path])))]
}

/// Runs a case in both worlds.
fn both(run: impl Fn(&str, Harness)) {
    for (name, adapter) in adapters() {
        run(name, Harness::new().port::<dyn ProcessPort>(adapter));
    }
}

fn call(harness: &Harness, name: &str, args: Json) -> Result<Value, OpError> {
    harness.call(&primitive(), name, args)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
}

#[test]
fn output_by_way_of_writing_the_command() {
    both(|world, harness| {
        for (cmd, stdout) in [
            (json!(["echo", "a  b", "$HOME", "*"]), "a  b $HOME *\n"),
            (json!("echo 'a  b' \"c\" d\\ e"), "a  b c d e\n"),
            (json!(["echo", 1, true, 2.5]), "1 true 2.5\n"),
            (json!(["echo", "|", ">", "'"]), "| > '\n"),
            (json!("true"), ""),
        ] {
            let it = call(&harness, "process::run", json!([cmd])).unwrap();
            assert_eq!(text(&it, "stdout"), stdout, "{world}: {cmd}");
            assert_eq!(it.get("code"), Some(&Value::Int(0)));
            assert_eq!(it.get("signal"), Some(&Value::Unit));
            assert_eq!(it.get("stdout_truncated"), Some(&Value::Bool(false)));
        }
    });
}

#[test]
fn wrong_arguments_are_refused_before_anything_happens() {
    both(|world, harness| {
        for (args, says) in [
            (json!([[]]), "the command is empty"),
            (json!(["  "]), "the command is empty"),
            (json!([[""]]), "the command is empty"),
            (json!([["echo", {}]]), "item 1: expected a string or a number, got map"),
            (json!([["echo", "a\u{0}b"]]), "no NUL"),
            (json!(["echo 'open"]), "a quote in the command is not closed"),
            (json!(["ls | wc"]), "`|` means nothing without a shell"),
            (json!(["make 2>&1"]), "`2>&1` means nothing without a shell"),
            (json!([1]), "expected string or array, got int"),
            (json!([["true"], {"umask": 22}]), "expected a mode, got the number 22"),
            (json!([["true"], {"output_limit": "2G"}]), "more than 1073741824"),
            (json!([["true"], {"grace": "1h"}]), "longer than 10m"),
            (json!([["true"], {"env": {"A=B": "c"}}]), "cannot be the name of a variable"),
            (json!([["true"], {"env": {"A": ["c"]}}]), "`A`: expected a text, got array"),
            (json!([["true"], {"environment": {}}]), "unknown option `environment`"),
            (json!([["true"], {"on_overflow": "drop"}]), "\"drop\" is none of cut, fail"),
        ] {
            let error = call(&harness, "process::run", args.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{world}: {args}");
            assert!(error.message.contains(says), "{world}: {args}: {}", error.message);
            assert!(error.nothing_happened);
        }
        let empty = call(&harness, "process::shell", json!([" "])).unwrap_err();
        assert_eq!(empty.kind, ErrorKind::Invalid);
    });
}

#[test]
fn exit_codes() {
    both(|world, harness| {
        let error = call(&harness, "process::run", json!([["false"]])).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Failed, false));
        assert_eq!(error.message, "false ended with exit code 1", "{world}");
        assert_eq!(error.details.get("code"), Some(&Value::Int(1)));
        assert!(!error.nothing_happened);

        for options in [json!({"check": false}), json!({"success": [0, 1]})] {
            let it = call(&harness, "process::run", json!([["false"], options])).unwrap();
            assert_eq!(it.get("code"), Some(&Value::Int(1)), "{world}");
        }
        let error = call(&harness, "process::run", json!([["true"], {"success": [1]}])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
    });
}

#[test]
fn a_program_that_is_not_there() {
    both(|world, harness| {
        for cmd in ["no-such-program", "./no-such-program"] {
            let error = call(&harness, "process::run", json!([[cmd]])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{world}");
            assert!(error.nothing_happened, "{world}");
            assert!(error.message.contains("no-such-program"), "{world}: {}", error.message);
        }
    });
}

#[test]
fn input() {
    both(|world, harness| {
        let it = call(&harness, "process::run", json!([["cat"], {"stdin": "grüße\n"}])).unwrap();
        assert_eq!(text(&it, "stdout"), "grüße\n", "{world}");
        let it = call(&harness, "process::run", json!([["cat"]])).unwrap();
        assert_eq!(text(&it, "stdout"), "", "{world}: without input there is none");

        let bytes = vec![0, 255, 10];
        let options =
            |binary| Value::map([("stdin", Value::Blob(bytes.clone())), ("binary", Value::Bool(binary))]);
        let cat = || Value::from(vec!["cat".to_owned()]);
        let it = harness.call_values(&primitive(), "process::run", vec![cat(), options(true)]).unwrap();
        assert_eq!(it.get("stdout"), Some(&Value::Blob(bytes.clone())), "{world}");
        let it = harness.call_values(&primitive(), "process::run", vec![cat(), options(false)]).unwrap();
        assert_eq!(text(&it, "stdout"), "\0\u{fffd}\n", "{world}");
    });
}

#[test]
fn environment_and_directory() {
    both(|world, harness| {
        let harness = harness.env("HANDED", "over").env("DOUBLE", "handed").key("effect-1");
        let env =
            json!({"GIVEN": "here", "NUMBER": 7, "DOUBLE": "given", "HOB_EFFECT": "forged", "HANDED": null});
        for (name, expected) in [
            ("GIVEN", Some("here\n")),
            ("NUMBER", Some("7\n")),
            ("DOUBLE", Some("given\n")),
            ("HOB_EFFECT", Some("effect-1\n")),
            ("HANDED", None),
            ("CARGO_MANIFEST_DIR", None), // hob's own environment is not inherited
        ] {
            let it =
                call(&harness, "process::run", json!([["printenv", name], {"env": env, "check": false}]))
                    .unwrap();
            assert_eq!(text(&it, "stdout"), expected.unwrap_or(""), "{world}: {name}");
        }
        let it = call(&harness, "process::run", json!([["printenv", "HANDED"]])).unwrap();
        assert_eq!(text(&it, "stdout"), "over\n", "{world}");

        let sub = harness.dir().join("sub");
        std::fs::create_dir(&sub).unwrap();
        let it = call(&harness, "process::run", json!([["pwd"]])).unwrap();
        assert_eq!(text(&it, "stdout"), format!("{}\n", harness.dir().display()), "{world}");
        let it = call(&harness, "process::run", json!([["pwd"], {"cwd": "sub"}])).unwrap();
        assert_eq!(text(&it, "stdout"), format!("{}\n", sub.display()), "{world}");
    });
}

#[test]
fn output_past_the_limit() {
    both(|world, harness| {
        let run = |options: Json| call(&harness, "process::run", json!([["cat"], options]));
        let it = run(json!({"stdin": "0123456789", "output_limit": 4})).unwrap();
        assert_eq!(text(&it, "stdout"), "0123", "{world}");
        assert_eq!(it.get("stdout_truncated"), Some(&Value::Bool(true)), "{world}");
        assert_eq!(it.get("stderr_truncated"), Some(&Value::Bool(false)), "{world}");

        let it = run(json!({"stdin": "0123", "output_limit": 4})).unwrap();
        assert_eq!(it.get("stdout_truncated"), Some(&Value::Bool(false)), "{world}");

        let big = "x".repeat(300_000);
        let error = run(json!({"stdin": big, "output_limit": "64K", "on_overflow": "fail"})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{world}");
        assert!(error.message.starts_with("cat wrote more than"), "{world}: {}", error.message);
        assert!(error.hint.unwrap().contains("output_limit"), "{world}");
    });
}

#[test]
fn its_time_is_over() {
    both(|world, harness| {
        let harness = harness.timeout(Duration::from_millis(50));
        let error = call(&harness, "process::run", json!([["sleep", "1000"]])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{world}: {error:?}");
        assert_eq!(error.details.get("signal").and_then(Value::as_str), Some("SIGTERM"), "{world}");
        assert!(!error.nothing_happened, "{world}");
    });
}

#[test]
fn a_cancelled_run() {
    both(|world, harness| {
        harness.cancel().cancel();
        let error = call(&harness, "process::run", json!([["sleep", "infinity"]])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{world}");
    });
}

#[test]
fn nobody_signals_init_or_hob_or_the_dead() {
    both(|world, harness| {
        for (pid, kind) in [(0, None), (1, None), (std::process::id(), None), (4_000_000, Some(false))] {
            for name in ["process::signal", "process::stop"] {
                let args = if name == "process::signal" { json!([pid, "hup"]) } else { json!([pid]) };
                match (call(&harness, name, args), kind) {
                    (Err(error), None) => assert_eq!(error.kind, ErrorKind::Invalid, "{world} {name} {pid}"),
                    (Ok(value), Some(there)) => assert_eq!(value, Value::Bool(there), "{world} {name} {pid}"),
                    (other, _) => panic!("{world} {name} {pid}: {other:?}"),
                }
            }
        }
        let error = call(&harness, "process::signal", json!([4_000_000, "HUPP"])).unwrap_err();
        assert!(error.hint.unwrap().contains("\"HUP\""), "{world}");
    });
}

#[test]
fn a_dry_run_goes_on_with_success_in_the_shape_of_the_real_result() {
    both(|world, harness| {
        let primitive = primitive();
        for operation in primitive.operations.iter().filter(|operation| operation.class.acts()) {
            let args = match operation.name {
                "process::run" | "process::shell" => json!(["true"]),
                "process::signal" => json!([4_000_000, "HUP"]),
                _ => json!([4_000_000]),
            };
            let pretended = harness.model(&primitive, operation.name, args.clone()).unwrap();
            // There is no shell in the fake world; its result is that of `run`.
            let real = call(&harness, &operation.name.replace("shell", "run"), args).unwrap();
            match (&pretended, &real) {
                (Value::Map(pretended), Value::Map(real)) => {
                    assert!(pretended.keys().eq(real.keys()), "{world} {}", operation.name);
                    assert_eq!(pretended["code"], real["code"], "{world} {}", operation.name);
                }
                _ => assert_eq!(pretended, real, "{world} {}", operation.name),
            }
        }
    });
}
