//! Following runs and events, through the client that commands use.

use std::ops::ControlFlow;

use hob_daemon::client::{Client, ClientError};
use hob_model::Code;
use serde_json::{Value as Json, json};

use crate::ask::get;
use crate::world::World;

/// The names of the events of a stream, with the message of log lines, up to the first for which `until` is true.
fn hear(world: &World, path: &str, mut until: impl FnMut(&str, &Json) -> bool) -> Vec<(String, Json)> {
    let mut heard = Vec::new();
    let listened = world.api().stream(path, |name, data| {
        heard.push((name.to_owned(), data.clone()));
        if until(name, &data) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    listened.unwrap();
    heard
}

#[test]
fn a_run_is_followed_to_its_end() {
    let world = World::default();
    let run = world.start("slow");
    let path = format!("/api/v1/runs/{run}/logs?follow=true");
    let heard = hear(&world, &path, |name, _| {
        if name == "log" {
            world.door.open();
        }
        false
    });
    let logs: Vec<&Json> =
        heard.iter().filter(|(n, _)| n == "log").map(|(_, data)| &data["message"]).collect();
    assert_eq!(logs, ["before", "after"]);
    let (name, end) = heard.last().unwrap();
    assert_eq!((name.as_str(), &end["status"], &end["output"]), ("end", &json!("succeeded"), &json!(7)));
    // It can be read again, and from any line on.
    let lines = world.api().get(&format!("/api/v1/runs/{run}/logs")).unwrap();
    assert_eq!((&lines[1]["level"], &lines[1]["message"]), (&json!("warn"), &json!("after")));
    let after = format!("/api/v1/runs/{run}/logs?after={}", lines[0]["seq"]);
    assert_eq!(world.api().get(&after).unwrap(), json!([lines[1]]));
    let ended = hear(&world, &format!("{after}&follow"), |_, _| false);
    assert_eq!(ended.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["log", "end"]);
}

#[test]
fn a_failure_is_told_with_its_place() {
    let world = World::default();
    let run = world.start("broken");
    let heard = hear(&world, &format!("/api/v1/runs/{run}/logs?follow=true"), |_, _| {
        world.door.open();
        false
    });
    let [.., (problem, told), (end, _)] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!((problem.as_str(), end.as_str()), ("problem", "end"));
    assert_eq!((&told["code"], &told["spans"][0]["line"]), (&json!("HOB-0201"), &json!(2)), "{told}");
}

#[test]
fn a_follower_may_act_on_what_it_hears() {
    let world = World::default();
    let run = world.start("approve");
    let heard = hear(&world, &format!("/api/v1/runs/{run}/logs?follow=true"), |name, data| {
        if name == "status" && data["status"] == "waiting" {
            world.api().post(&format!("/api/v1/runs/{run}/cancel"), &json!({})).unwrap();
        }
        false
    });
    assert_eq!(heard.last().unwrap().1["status"], "cancelled");
}

#[test]
fn events_are_followed_as_they_come() {
    let world = World::default();
    world.api().post("/api/v1/events", &json!({ "name": "disk.full" })).unwrap();
    let emit = |name: &str| drop(world.api().post("/api/v1/events", &json!({ "name": name })).unwrap());
    let heard = hear(&world, "/api/v1/events?follow=true&after=0&name=disk.*", |_, event| {
        if event["id"] == 1 {
            emit("unit.failed");
            emit("disk.empty");
        }
        event["name"] == "disk.empty"
    });
    let names: Vec<&Json> = heard.iter().map(|(_, event)| &event["name"]).collect();
    assert_eq!(names, ["disk.full", "disk.empty"]);
}

#[test]
fn streams_end_when_hob_stops() {
    let mut world = World::default();
    let run = world.start("signal");
    let client = world.api();
    let (told, tell) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        client.stream(&format!("/api/v1/runs/{run}/logs?follow=true"), |name, _| {
            let _ = told.send(name.to_owned());
            ControlFlow::Continue(())
        })
    });
    tell.recv().unwrap();
    world.stop();
    listener.join().unwrap().unwrap();
}

#[test]
fn streams_are_limited_and_given_back() {
    let world = World::default();
    let open = || {
        let stream = std::os::unix::net::UnixStream::connect(&world.settings.socket).unwrap();
        std::io::Write::write_all(
            &mut &stream,
            b"GET /api/v1/events?follow HTTP/1.1\r\nhost: localhost\r\n\r\n",
        )
        .unwrap();
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut &stream, &mut head).unwrap();
        (String::from_utf8_lossy(&head[9..]).into_owned(), stream)
    };
    let mut streams: Vec<_> = (0..64).map(|_| open()).collect();
    assert!(streams.iter().all(|(status, _)| status == "200"));
    assert_eq!(open().0, "503");
    // Other requests are answered all the same.
    assert_eq!(get("/healthz").unix(&world.settings.socket).status, 200);
    streams.pop();
    // The reader's going is noticed in its own time.
    while open().0 != "200" {
        std::thread::yield_now();
    }
}

#[test]
fn the_client_says_what_is_wrong() {
    let world = World::default();
    let nobody = Client::new(world.dir.path().join("nobody.sock"));
    let error = nobody.get("/healthz").unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon(_)));
    assert_eq!(error.diagnostic().code, Code::NoDaemon);
    assert!(!nobody.answers() && world.api().answers());
    let refused = world.api().get("/api/v1/runs/none").unwrap_err().diagnostic();
    assert_eq!(
        (refused.code, refused.hint.as_deref()),
        (Code::NoSuchRun, Some("`hob runs list` shows all runs"))
    );
    let stream = world.api().stream("/api/v1/runs/none/logs?follow", |_, _| ControlFlow::Continue(()));
    assert_eq!(stream.unwrap_err().diagnostic().code, Code::NoSuchRun);
    assert!(matches!(world.api().get("/api v1"), Err(ClientError::Broken(_))));
}
