//! The routes of the API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::client::ClientError;
use hob_journal::{Commit, Journal, MemoryJournal, Write};
use hob_model::{Code, EffectClass, Entry, EntryKind, Payload, Position, RunId, Source, Timestamp, Value};
use hob_primitive::ServiceRequest;
use http::StatusCode;
use serde_json::{Value as Json, json};

use crate::ask::{Ask, get, post};
use crate::world::{World, started};

fn refused(result: Result<Json, ClientError>) -> (StatusCode, hob_model::Diagnostic) {
    match result {
        Err(ClientError::Refused { status, problem }) => (status, problem),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn runs_are_listed_newest_first() {
    let world = World::default();
    let api = world.api();
    let runs: Vec<String> = ["echo", "steps", "fail"].map(|name| world.start(name)).into();
    runs.iter().for_each(|run| drop(world.rested(run)));
    let names = |query: &str| -> Vec<String> {
        let list = api.get(&format!("/api/v1/runs{query}")).unwrap();
        list.as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["fail", "steps", "echo"]);
    assert_eq!(names("?limit=1"), ["fail"]);
    assert_eq!(names("?status=failed"), ["fail"]);
    assert_eq!(names("?status=failed,succeeded&name=echo"), ["echo"]);
    assert_eq!(names("?kind=playbook"), ["fail", "steps", "echo"]);
    assert_eq!(names("?kind=schedule"), [""; 0]);
    assert_eq!(names(&format!("?before={}", runs[1])), ["echo"]);
    let first = &api.get("/api/v1/runs?limit=1").unwrap()[0];
    assert_eq!(first["run"], runs[2]);
    assert_eq!(first["status"], "failed");
    assert!(first["created"].as_str().unwrap() <= first["updated"].as_str().unwrap());
    let hint = refused(api.get("/api/v1/runs?status=faild")).1.hint;
    assert_eq!(hint.as_deref(), Some("did you mean `failed`?"));
    let hint = refused(api.get("/api/v1/runs?limt=1")).1.hint;
    assert_eq!(hint.as_deref(), Some("did you mean `limit`?"));
    assert_eq!(refused(api.get("/api/v1/runs?limit=-1")).0, StatusCode::BAD_REQUEST);
    assert_eq!(refused(api.get("/api/v1/runs?limit=1&limit=2")).0, StatusCode::BAD_REQUEST);
}

#[test]
fn a_run_shows_what_it_did() {
    let world = World::default();
    let run = world.start("fail");
    let shown = world.rested(&run);
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["output"], Json::Null);
    assert_eq!(shown["error"]["message"], "broken");
    let fire = &shown["entries"][0];
    for (field, wanted) in [
        ("position", json!("1")),
        ("primitive", json!("world")),
        ("operation", json!("fire")),
        ("class", json!("once")),
        ("status", json!("succeeded")),
        ("result", json!("a")),
        ("error", Json::Null),
        ("source", json!("test.rhai:1:8")),
        ("args", json!(["a"])),
        ("seq", json!(1)),
    ] {
        assert_eq!(fire[field], wanted, "{field} of {fire}");
    }
    let steps = world.start("steps");
    let shown = world.rested(&steps);
    assert_eq!((&shown["status"], &shown["output"]), (&json!("succeeded"), &json!(3)));
    let positions: Vec<&Json> = shown["entries"].as_array().unwrap().iter().map(|e| &e["position"]).collect();
    assert_eq!(positions, ["step:one", "step:two", "step:three"]);
    // An id may be cut short as long as it fits one run.
    let by_prefix = world.api().get(&format!("/api/v1/runs/{}", &steps[..30])).unwrap();
    assert_eq!(by_prefix["run"], steps);
    let (status, problem) = refused(world.api().get("/api/v1/runs/ffffffff"));
    assert_eq!((status, problem.code), (StatusCode::NOT_FOUND, Code::NoSuchRun));
}

#[test]
fn workflows_are_started_with_input() {
    let world = World::default();
    let body = json!({ "workflow": "echo", "input": { "a": [1, null, "x"] } });
    let started = world.api().post("/api/v1/runs?wait=30s", &body).unwrap();
    assert_eq!(started["status"], "succeeded");
    assert_eq!(started["output"], body["input"]);
    let (status, problem) = refused(world.api().post("/api/v1/runs", &json!({ "workflow": "ecko" })));
    assert_eq!((status, problem.hint.as_deref()), (StatusCode::NOT_FOUND, Some("did you mean `echo`?")));
    for body in [json!({}), json!({ "workflow": 1 }), json!({ "workflow": "echo", "inptu": 1 }), json!([])] {
        assert_eq!(refused(world.api().post("/api/v1/runs", &body)).0, StatusCode::BAD_REQUEST, "{body}");
    }
    let deep = format!("{{\"workflow\":\"echo\",\"input\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(post("/api/v1/runs", deep).unix(&world.settings.socket).status, 400);
}

/// A playbook as `hob run` sends it.
fn playbook(script: &str) -> Json {
    let files = json!({ "main.rhai": script, "lib.rhai": "fn two() { 2 }" });
    json!({ "playbook": {
        "name": "main", "input": { "n": 40 }, "owner": "daemon", "cwd": "/", "env": [], "allow": [], "deny": [],
        "trusted": true, "on_doubt": "ask", "root": "main.rhai", "origin": "/", "host": "here", "files": files,
    } })
}

#[test]
fn playbooks_come_over_the_socket_alone() {
    let world = World::default();
    let good = playbook(r#"import "lib" as lib; input.n + lib::two()"#);
    let started = world.api().post("/api/v1/runs?wait=30s", &good).unwrap();
    assert_eq!(started["output"], 42, "{started}");
    let over_tcp = post("/api/v1/runs", good.to_string()).token(&world.token).tcp(world.address);
    assert_eq!(over_tcp.status, 403, "{}", over_tcp.text());
    let (status, problem) = refused(world.api().post("/api/v1/runs", &playbook("let = 3")));
    assert_eq!((status, problem.code), (StatusCode::UNPROCESSABLE_ENTITY, Code::Syntax));
    assert_eq!(problem.spans[0].source.line, 1);
}

#[test]
fn all_that_is_wrong_with_a_playbook_is_told() {
    let world = World::default();
    let mut wrong = playbook("1");
    let fields = &mut wrong["playbook"];
    fields["env"] = json!([["A", "1"], ["B"], "C=1", ["D", 4]]);
    fields["allow"] = json!("files");
    fields["deny"] = json!(["http", 7]);
    fields["trusted"] = json!("yes");
    fields["on_doubt"] = json!("perhaps");
    fields["cwd"] = Json::Null;
    fields["files"]["lib.rhai"] = json!(2);
    let (status, problem) = refused(world.api().post("/api/v1/runs", &wrong));
    assert_eq!((status, problem.code), (StatusCode::BAD_REQUEST, Code::Usage));
    let all = format!("{}\n{}", problem.message, problem.notes.join("\n"));
    for part in [
        "`cwd` is no text",
        "`on_doubt` does not know `perhaps`",
        "item 2 of `env` is no pair of a name and a text",
        "item 3 of `env`",
        "item 4 of `env`",
        "`allow` is no array",
        "item 2 of `deny` is no text",
        "`trusted` is neither true nor false",
        "the file `lib.rhai` is no text",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let mut missing = playbook(r#"import "here" as a; import "there" as b;"#);
    missing["playbook"].as_object_mut().unwrap().remove("env");
    let (_, problem) = refused(world.api().post("/api/v1/runs", &missing));
    let all = format!("{}\n{}", problem.message, problem.notes.join("\n"));
    assert!(all.contains("here.rhai") && all.contains("there.rhai"), "{all}");
}

#[test]
fn signals_and_approvals_reach_their_run() {
    let world = World::default();
    let api = world.api();
    let run = world.start("signal");
    let waiting = world.rested(&run);
    assert_eq!(waiting["status"], "waiting");
    assert_eq!(waiting["goes_on"], false);
    assert_eq!(waiting["entries"][0]["status"], "pending");
    assert_eq!(waiting["entries"][0]["wait"]["what"], "go");
    api.post(&format!("/api/v1/runs/{run}/signal"), &json!({ "name": "go", "payload": { "n": 1 } })).unwrap();
    assert_eq!(world.rested(&run)["output"], json!({ "n": 1 }));
    let late = refused(api.post(&format!("/api/v1/runs/{run}/signal"), &json!({ "name": "go" })));
    assert_eq!((late.0, late.1.code), (StatusCode::CONFLICT, Code::WrongRunState));
    for (deny, output) in [(false, true), (true, false)] {
        let run = world.start("approve");
        world.rested(&run);
        let answer = json!({ "position": "1", "deny": deny, "comment": "because" });
        api.post(&format!("/api/v1/runs/{run}/approve"), &answer).unwrap();
        assert_eq!(world.rested(&run)["output"], output);
    }
    let nothing = refused(api.post(&format!("/api/v1/runs/{run}/approve"), &json!({})));
    assert_eq!(nothing.0, StatusCode::NOT_FOUND);
}

#[test]
fn runs_are_cancelled_forked_and_begun_again() {
    let world = World::default();
    let api = world.api();
    let run = world.start("signal");
    world.rested(&run);
    api.post(&format!("/api/v1/runs/{run}/cancel"), &json!({ "reason": "enough" })).unwrap();
    assert_eq!(world.rested(&run)["status"], "cancelled");
    let failed = world.start("fail");
    world.rested(&failed);
    let refusal = refused(api.post(&format!("/api/v1/runs/{failed}/retry"), &json!({})));
    assert_eq!(refusal.0, StatusCode::CONFLICT);
    let again = api.post(&format!("/api/v1/runs/{failed}/retry"), &json!({ "from_start": true })).unwrap();
    let again = world.rested(again["run"].as_str().unwrap());
    assert_eq!((&again["status"], &again["entries"][0]["seq"]), (&json!("failed"), &json!(1)));
    let steps = world.start("steps");
    world.rested(&steps);
    let fork = json!({ "at": "step:three", "set": { "step:two": 11 }, "input": null });
    let forked = api.post(&format!("/api/v1/runs/{steps}/fork"), &fork).unwrap();
    let forked = world.rested(forked["run"].as_str().unwrap());
    assert_eq!(forked["output"], 12, "{forked}");
    for (at, status) in [("nonsense", StatusCode::BAD_REQUEST), ("77", StatusCode::NOT_FOUND)] {
        let fork = json!({ "at": at });
        assert_eq!(refused(api.post(&format!("/api/v1/runs/{steps}/fork"), &fork)).0, status, "{at}");
    }
    let resumed = refused(api.post(&format!("/api/v1/runs/{steps}/resume"), &json!({})));
    assert_eq!(resumed.0, StatusCode::CONFLICT);
}

/// A journal with a run whose effect was under way when its process died.
fn journal_with_doubt() -> (Arc<MemoryJournal>, RunId) {
    let journal = MemoryJournal::default();
    let run = RunId::new(Timestamp::from_second(1_800_000_000).unwrap(), [1; 10]);
    let bundle = hob_engine::Bundle::of_text("test.rhai", r#"world::fire("a")"#, "/", "host");
    let mut start = started("doubtful", Value::Unit, "test");
    start.bundle = Some(bundle.digest());
    let at = Position::root().effect(1);
    let kinds = [
        EntryKind::Started(start),
        EntryKind::Intent {
            operation: "world::fire".into(),
            class: EffectClass::Once,
            args: Payload::of(&Value::Array(vec![Value::from("a")])).0,
            key: run.effect_key(&at),
            noted: Payload::of(&Value::Unit).0,
            source: Source::default(),
            position: at,
        },
    ];
    let entries = (0..).zip(kinds).map(|(seq, kind)| {
        Write::Entry(run, Entry { seq, at: Timestamp::from_second(1_800_000_000).unwrap(), kind })
    });
    journal.submit(bundle.writes().into_iter().chain(entries).collect::<Commit>());
    journal.flush().unwrap();
    (Arc::new(journal), run)
}

#[test]
fn an_effect_in_doubt_is_settled() {
    for (choice, output, status) in [
        (json!({ "choice": "retry" }), json!("a"), "succeeded"),
        (json!({ "choice": "skip" }), Json::Null, "skipped"),
        (json!({ "choice": "result", "result": [5] }), json!([5]), "succeeded"),
    ] {
        let (journal, run) = journal_with_doubt();
        let world = World::over(journal, Default::default());
        let shown = world.rested(&run.to_string());
        assert_eq!(
            (&shown["status"], &shown["entries"][0]["status"]),
            (&json!("in_doubt"), &json!("in_doubt"))
        );
        let path = format!("/api/v1/runs/{run}/resolve");
        let wrong = [
            json!({}),
            json!({ "position": "1", "choice": "perhaps" }),
            json!({ "position": "1", "choice": "result" }),
        ];
        for body in wrong {
            assert_eq!(refused(world.api().post(&path, &body)).0, StatusCode::BAD_REQUEST, "{body}");
        }
        let mut body = choice;
        body["position"] = json!("1");
        world.api().post(&path, &body).unwrap();
        let shown = world.rested(&run.to_string());
        assert_eq!(shown["output"], output, "{shown}");
        assert_eq!(shown["entries"][0]["status"], status, "{shown}");
        assert_eq!(shown["entries"][0]["result"], output, "{shown}");
    }
}

#[test]
fn runs_are_checked_and_moved_to_other_sources() {
    let world = World::default();
    let run = world.start("signal");
    world.rested(&run);
    let check = world.api().post(&format!("/api/v1/runs/{run}/check"), &json!({})).unwrap();
    assert_eq!(check, json!({ "run": run, "fits": true }));
    assert_eq!(world.api().post("/api/v1/runs/check", &json!({})).unwrap(), json!([check]));
    let sources = |script: &str| json!({ "sources": { "root": "test.rhai", "origin": "/", "host": "host", "files": { "test.rhai": script } } });
    let migrate = |script: &str| {
        // A run that has just come to wait may still be leaving its thread.
        loop {
            match world.api().post(&format!("/api/v1/runs/{run}/migrate"), &sources(script)) {
                Err(ClientError::Refused { problem, .. }) if problem.message.contains("try again") => {}
                other => break other.unwrap(),
            }
        }
    };
    let differs = migrate(r#"sleep("1h")"#);
    assert_eq!((&differs["fits"], &differs["position"]), (&json!(false), &json!("1")));
    let fits = migrate(r#"log::info("waiting"); wait_signal("go"); "moved""#);
    assert_eq!(fits["fits"], true, "{fits}");
    world.api().post(&format!("/api/v1/runs/{run}/signal"), &json!({ "name": "go" })).unwrap();
    assert_eq!(world.rested(&run)["output"], "moved");
    let over_tcp = post(&format!("/api/v1/runs/{run}/migrate"), sources("1").to_string()).token(&world.token);
    assert_eq!(over_tcp.tcp(world.address).status, 403);
}

#[test]
fn events_are_put_on_the_bus_and_listed() {
    let world = World::default();
    let api = world.api();
    for n in 1..=3 {
        api.post("/api/v1/events", &json!({ "name": format!("disk.{n}"), "payload": { "n": n } })).unwrap();
    }
    let names = |query: &str| -> Vec<String> {
        let list = api.get(&format!("/api/v1/events{query}")).unwrap();
        list.as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["disk.1", "disk.2", "disk.3"]);
    assert_eq!(names("?limit=2"), ["disk.2", "disk.3"]);
    assert_eq!(names("?after=0&limit=2"), ["disk.1", "disk.2"]);
    assert_eq!(names("?name=*.3"), ["disk.3"]);
    let event = &api.get("/api/v1/events?after=2").unwrap()[0];
    assert_eq!((&event["id"], &event["payload"]), (&json!(3), &json!({ "n": 3 })));
    for body in [json!({}), json!({ "name": "" }), json!({ "name": "a\nb" })] {
        assert_eq!(refused(api.post("/api/v1/events", &body)).0, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[test]
fn all_services_are_brought_up_and_down() {
    let world = World::default();
    let api = world.api();
    assert_eq!(api.post("/api/v1/up", &json!({})).unwrap()["basis"], Json::Null);
    assert_eq!(api.post("/api/v1/apply", &json!({ "basis": "new" })).unwrap()["basis"], "new");
    assert_eq!(refused(api.post("/api/v1/apply", &json!({ "basis": "old" }))).0, StatusCode::CONFLICT);
    assert_eq!(refused(api.post("/api/v1/apply", &json!({}))).0, StatusCode::BAD_REQUEST);
    assert_eq!(api.post("/api/v1/down", &json!({})).unwrap(), json!({ "stopped": ["gitea"] }));
}

#[test]
fn services_are_shown_and_told_what_to_do() {
    let world = World::default();
    let api = world.api();
    assert_eq!(api.get("/api/v1/services").unwrap()[0]["name"], "gitea");
    assert_eq!(api.get("/api/v1/services/gitea").unwrap()["state"], "ready");
    let (status, problem) = refused(api.get("/api/v1/services/gitae"));
    assert_eq!((status, problem.hint.as_deref()), (StatusCode::NOT_FOUND, Some("did you mean `gitea`?")));
    for verb in ["start", "stop", "restart", "renew", "release"] {
        let done = api.post(&format!("/api/v1/services/gitea/{verb}"), &json!({})).unwrap();
        assert_eq!(done["name"], "gitea");
    }
    api.post("/api/v1/services/gitea/hold", &json!({ "for": "2h", "reason": "disk swap" })).unwrap();
    let two_hours = Duration::from_secs(7200);
    let commands: Vec<ServiceRequest> =
        world.hub.commands.lock().unwrap().iter().map(|(_, command)| command.clone()).collect();
    let hold = ServiceRequest::Hold { duration: Some(two_hours), reason: "disk swap".into() };
    let all = [
        ServiceRequest::Start,
        ServiceRequest::Stop,
        ServiceRequest::Restart,
        ServiceRequest::Renew,
        ServiceRequest::Release,
        hold,
    ];
    assert_eq!(commands, all);
    assert_eq!(refused(api.post("/api/v1/services/x/start", &json!({}))).0, StatusCode::NOT_FOUND);
    let never = json!({ "for": "soon" });
    assert_eq!(refused(api.post("/api/v1/services/gitea/hold", &never)).0, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/api/v1/status").unwrap()["tiers"], json!([]));
    assert_eq!(api.get("/api/v1/schedules").unwrap()[0]["name"], "backup");
}

#[test]
fn health_and_metrics_tell_how_it_is() {
    let world = World::default();
    world.rested(&world.start("echo"));
    let text = get("/metrics").tcp(world.address).text();
    for line in ["hob_ready 1", "hob_runs_active ", "hob_build_info{version=", "# TYPE hob_ready gauge"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    world.hub.ready.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(get("/healthz").tcp(world.address).status, 503);
}

/// Each `$ref` of a document.
fn references<'a>(json: &'a Json, found: &mut BTreeSet<&'a str>) {
    match json {
        Json::Object(map) => {
            found.extend(map.get("$ref").and_then(Json::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Json::Array(all) => all.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_describes_each_route() {
    let world = World::default();
    let document = world.api().get("/api/v1/openapi.json").unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let filled = path.replace("{run}", "ffffffff").replace("{service}", "nobody");
        for (method, operation) in methods.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            let in_path = operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path");
            assert_eq!(in_path.count(), path.matches('{').count(), "{path}");
            let ask = || Ask::new(&method.to_uppercase(), &filled);
            assert_eq!(ask().tcp(world.address).status, 401, "{method} {path}");
            let answer = ask().unix(&world.settings.socket);
            // It may refuse the made-up names, but never because there is no such route.
            let text = answer.text();
            assert!(answer.status != 405 && !text.contains("there is nothing at"), "{method} {path}: {text}");
        }
    }
    for id in ["listRuns", "getRun", "startRun", "resolveEffect", "emitEvent", "holdService"] {
        assert!(ids.contains(id), "{id}");
    }
}
