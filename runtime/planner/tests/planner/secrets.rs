//! Services that use secrets, and what becomes of them when these change.

use expect_test::expect;
use hob_model::{Secret, Value};
use hob_planner::declaration::ReloadSignal;
use hob_planner::plan::{FieldChange, SECRET_DRIFT};
use hob_planner::{Action, Goal, Plan};
use serde_json::json;

use crate::plans::running;
use crate::{homelab, raws, read, shown};

fn drift(field: String) -> FieldChange {
    FieldChange { field, from: Value::from("the old value"), to: Value::from("the new value") }
}

#[test]
fn who_reads_its_files_again_goes_on() {
    let file = json!({ "secret_file": "db" });
    let house = homelab(&[
        ("service", "reads", json!({ "command": "a", "env": { "F": file }, "reload": "SIGUSR1" })),
        ("service", "starts", json!({ "command": "a", "env": { "F": file } })),
    ]);
    assert_eq!(house.service("reads").unwrap().reload, Some(ReloadSignal::Usr1));
    let secret = format!("{SECRET_DRIFT}.db");
    let mut observed = house.services.iter().map(running).collect::<Vec<_>>();
    observed.iter_mut().for_each(|it| it.drift = vec![drift(secret.clone())]);
    let actions = |observed: &[_]| -> Vec<Action> {
        Plan::new(&house, observed, Goal::Up).changes.iter().map(|it| it.action).collect()
    };
    assert_eq!(actions(&observed), [Action::Update, Action::Recreate]);
    // What else was changed by hand takes a new start.
    observed[0].drift.push(drift("color".to_owned()));
    assert_eq!(actions(&observed), [Action::Recreate, Action::Recreate]);
}

#[test]
fn mistakes_with_secrets_are_told() {
    let mut declared = raws(&[
        ("service", "box", json!({ "lid": "oak", "reload": "SIGHUP" })),
        ("service", "none", json!({ "command": "a", "reload": "SIGHUP" })),
        ("service", "kill", json!({ "command": "a", "reload": "SIGKILL" })),
        ("service", "open", json!({ "command": "a", "reload": "SIGHUP", "env": {} })),
        ("service", "file", json!({ "command": "a", "env": { "F": { "secret_file": "a b" } } })),
        (
            "service",
            "text",
            json!({ "command": "a", "env": { "F": { "secret_file": "db", "content": "plain", "mode": 1 } } }),
        ),
        (
            "service",
            "plain",
            json!({ "command": "a", "env": { "F": { "secret_file": "db", "content": "x" } } }),
        ),
    ]);
    if let Value::Map(options) = &mut declared[3].options {
        options.insert("env".to_owned(), Value::map([("TOKEN", Value::Secret(Secret::named("token")))]));
    }
    let (_, diagnostics) = read(&declared);
    expect![[r#"
        error[HOB-0501]: service `box`: `reload`: a box gets its secrets when it starts (homelab.rhai:1:1)
          help: remove it: it is started anew
        error[HOB-0501]: service `none`: `reload`: it uses no secret (homelab.rhai:2:1)
          help: remove it
        error[HOB-0105]: service `kill`: `reload`: expected one of "SIGHUP", "SIGUSR1", "SIGUSR2", found "SIGKILL" (homelab.rhai:3:1)
        warning[HOB-0501]: service `open`: `env.TOKEN` has a secret, which whoever may inspect the service can read (homelab.rhai:4:1)
          help: many programs read a file instead: `TOKEN_FILE: secret_file("…")`
        error[HOB-0501]: service `open`: `reload`: `env.TOKEN` has a secret, and the environment of what runs does not change (homelab.rhai:4:1)
          help: hand it over in a file: secret_file("…")
        error[HOB-0501]: service `file`: `env.F`: `a b` is no name of a secret (homelab.rhai:5:1)
        error[HOB-0501]: service `text`: `env.F`: `secret_file` has no option `mode`; there are `content` and `owner` (homelab.rhai:6:1)
        error[HOB-0501]: service `plain`: `env.F`: `content` is a text with secrets in it (`secrets::fill`), found string (homelab.rhai:7:1)
    "#]].assert_eq(&shown(&diagnostics));
}
