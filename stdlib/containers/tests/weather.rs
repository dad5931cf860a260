//! Bad weather: no engine, one that goes away, registries that refuse.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

mod world;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;

use hob_lab::engine::{Engine, Kind, REGISTRY, REGISTRY_PASSWORD, REGISTRY_PRIVATE, REGISTRY_USER};
use hob_model::ErrorKind;
use hob_primitive::{EventSink, EventSource};
use hob_std_containers::events::ContainerEvents;
use hob_std_containers::live::Live;
use hob_std_containers::{ContainersPort, primitives};
use hob_testkit::Harness;
use serde_json::json;
use world::{IMAGE, flag, text};

fn harness() -> Harness {
    Harness::new().port::<dyn ContainersPort>(Arc::new(Live::new(Vec::new())))
}

#[test]
fn engines_that_are_not_there() {
    let harness = harness();
    let (silent, absent) = (harness.dir().join("silent.sock"), harness.dir().join("absent.sock"));
    drop(UnixListener::bind(&silent).unwrap());
    for (socket, kind, says) in [
        (absent.to_str().unwrap(), ErrorKind::Unavailable, "is not there"),
        (silent.to_str().unwrap(), ErrorKind::Unavailable, "does not answer"),
        ("tcp://127.0.0.1:1", ErrorKind::Unavailable, "does not answer"),
        ("ssh://nas", ErrorKind::Failed, "ssh is not spoken"),
        ("nowhere", ErrorKind::Failed, "is no address"),
    ] {
        let error =
            harness.call(&primitives()[0], "containers::list", json!([{"socket": socket}])).unwrap_err();
        assert_eq!(error.kind, kind, "{socket}: {error}");
        assert!(error.message.contains(says), "{socket}: {error}");
        assert_eq!(error.nothing_happened, kind == ErrorKind::Unavailable, "{socket}");
    }
}

/// Says to [`as_nobody`] which socket it is to try.
const AS_NOBODY: &str = "HOB_TEST_AS_NOBODY";

#[test]
fn an_engine_that_may_not_be_used() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // This program again, where a user without rights may start it.
    let program = dir.path().join("as-nobody");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for engine in world::engines() {
        let mut command = std::process::Command::new(&program);
        command.args(["--exact", "as_nobody", "--ignored"]).env(AS_NOBODY, engine.socket()).current_dir("/");
        let ran = command.uid(65_534).gid(65_534).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[test]
#[ignore = "another test starts it as another user"]
fn as_nobody() {
    let Ok(socket) = std::env::var(AS_NOBODY) else { return };
    for args in [json!(["x", {"socket": socket}]), json!(["x", {"socket": format!("unix://{socket}")}])] {
        let error = harness().call(&primitives()[0], "containers::get", args).unwrap_err();
        assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Denied, true), "{error}");
        assert!(error.hint.unwrap().contains("the socket's group"));
    }
}

#[test]
fn a_podman_that_comes_and_goes_with_its_registries() {
    an_engine_that_comes_and_goes_with_its_registries(Kind::Podman);
}

#[test]
fn a_podman_without_root_that_comes_and_goes_with_its_registries() {
    an_engine_that_comes_and_goes_with_its_registries(Kind::RootlessPodman);
}

#[test]
fn a_docker_that_comes_and_goes_with_its_registries() {
    an_engine_that_comes_and_goes_with_its_registries(Kind::Docker);
}

/// One engine of its own: it is stopped and started.
fn an_engine_that_comes_and_goes_with_its_registries(kind: Kind) {
    let Some(engine) = world::start(kind) else { return };
    let harness = harness().env("CONTAINER_HOST", engine.socket().to_str().unwrap());
    let all = primitives();
    let call = |operation: &str, args| {
        let home = all.iter().find(|one| one.operations.iter().any(|one| one.name == operation)).unwrap();
        harness.call(home, operation, args)
    };
    registries(&engine, &call);
    events(&engine, &harness, &call);

    let volume = format!("{}:/shared", engine.shared().display());
    let spec = world::whole(json!({"command": "sleep 1000", "start": true, "volumes": [volume]}));
    call("containers::create", json!(["stays", spec])).unwrap();
    engine.stop_engine().unwrap();
    let error = call("containers::get", json!(["stays"])).unwrap_err();
    assert_eq!(
        (error.kind, error.retryable, error.nothing_happened),
        (ErrorKind::Unavailable, true, true),
        "{error}"
    );
    engine.start_engine().unwrap();
    let it = call("containers::get", json!(["stays"])).unwrap();
    assert_eq!(text(&it, "state"), "running");

    // In the middle of a call.
    let waiting = std::thread::scope(|scope| {
        let call = &call;
        let follow = json!(["stays", {"follow": "60s"}]);
        let waiting = scope.spawn(move || call("containers::logs", follow));
        engine.stop_engine().unwrap();
        waiting.join().unwrap()
    });
    let error = waiting.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    engine.start_engine().unwrap();

    // While a program runs: nobody may believe that it did nothing.
    let begun = engine.shared().join("begun");
    let program = json!(["stays", ["sh", "-c", "echo yes >/shared/begun; sleep 1000"]]);
    let waiting = std::thread::scope(|scope| {
        let call = &call;
        let waiting = scope.spawn(move || call("containers::exec", program));
        while !begun.exists() && !waiting.is_finished() {
            std::thread::yield_now();
        }
        engine.stop_engine().unwrap();
        waiting.join().unwrap()
    });
    let error = waiting.unwrap_err();
    assert_eq!((error.kind, error.nothing_happened), (ErrorKind::Unavailable, false), "{error}");
    engine.start_engine().unwrap();
}

type Call<'a> = &'a dyn Fn(&str, serde_json::Value) -> Result<hob_model::Value, hob_model::OpError>;

fn registries(engine: &Engine, call: Call<'_>) {
    let error = call("containers::images::pull", json!([format!("{REGISTRY}/busybox:1")])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "nobody listens yet: {error}");
    engine.start_registries().unwrap();
    let pulled = call("containers::images::pull", json!([format!("{REGISTRY}/busybox:1")])).unwrap();
    assert_eq!(text(&pulled, "name"), format!("{REGISTRY}/busybox:1"));
    let error = call("containers::images::pull", json!([format!("{REGISTRY}/nothing:1")])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");

    let private = format!("{REGISTRY_PRIVATE}/busybox:1");
    let auth = |password: &str| json!([private, {"auth": {"username": REGISTRY_USER, "password": password}}]);
    for args in [json!([private]), auth("sesame street")] {
        let error = call("containers::images::pull", args).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.hint.as_deref().unwrap().contains("auth"), "{error:?}");
        assert!(!format!("{error:?}").contains("sesame"), "the password is not shown");
    }
    let pulled = call("containers::images::pull", auth(REGISTRY_PASSWORD)).unwrap();
    assert!(!text(&pulled, "id").is_empty());
    call("containers::images::remove", json!([private, {"force": true}])).unwrap();
    let again = call("containers::images::pull", auth(REGISTRY_PASSWORD)).unwrap();
    assert!(flag(&again, "changed") || !text(&again, "id").is_empty());

    // An archive that another engine saved.
    let archive = engine.shared().join("saved.tar");
    let saved = engine.cli(&["save", "-o", archive.to_str().unwrap(), IMAGE]).unwrap();
    assert!(saved.status.success(), "{saved:?}");
    let loaded = call("containers::images::load", json!([archive.to_str().unwrap()])).unwrap();
    assert!(text(&loaded, "output").contains(IMAGE), "{loaded:?}");
    std::fs::write(&archive, "no archive").unwrap();
    assert!(call("containers::images::load", json!([archive.to_str().unwrap()])).is_err());
}

/// What happens is told, until nobody listens.
fn events(engine: &Engine, harness: &Harness, call: Call<'_>) {
    let env = vec![("CONTAINER_HOST".to_owned(), engine.socket().to_string_lossy().into_owned())];
    let source = Arc::new(ContainerEvents::new(Arc::new(Live::new(env))));
    assert_eq!(source.prefix(), "container.");
    let (sender, receiver) = std::sync::mpsc::channel();
    let sink = EventSink::new(move |name: &str, payload| sender.send((name.to_owned(), payload)).is_ok());
    let listening = harness.runtime().spawn(source.listen(sink));
    // Each round is one more event, so that nothing is waited for that was told before somebody listened.
    let mut told = None;
    for round in 0..200 {
        let name = format!("told-{round}");
        call("containers::create", json!([name, world::whole(json!({}))]))
            .unwrap_or_else(|error| panic!("{error}"));
        call("containers::remove", json!([name])).unwrap();
        told = receiver.recv_timeout(std::time::Duration::from_millis(100)).ok();
        if told.is_some() {
            break;
        }
    }
    let (name, payload) = told.expect("an event");
    assert!(name.starts_with("container."), "{name}");
    assert!(text(&payload, "name").starts_with("told-"), "{payload:?}");
    assert_eq!(text(&payload, "image"), IMAGE);
    drop(receiver);
    call("containers::create", json!(["last", world::whole(json!({}))])).unwrap();
    listening.abort();
    call("containers::remove", json!(["last"])).unwrap();
}
