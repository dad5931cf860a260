//! The engines come up, their registries serve, and nothing of them is left.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test of real programs

use hob_lab::engine::{Engine, IMAGE, Kind, REGISTRY, REGISTRY_PRIVATE};

fn an_engine_with_registries(kind: Kind) {
    let start = || Engine::start(kind);
    let Some(engine) = hob_lab::started(kind.name(), kind.missing(), start) else { return };
    let said = engine.cli(&["run", "--rm", IMAGE, "echo", "hello"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello\n", "{said:?}");

    engine.start_registries().unwrap();
    let pull = |name: &str| engine.cli(&["pull", "-q", &format!("{name}/busybox:1")]).unwrap();
    assert!(pull(REGISTRY).status.success(), "{:?}", pull(REGISTRY));
    assert!(!pull(REGISTRY_PRIVATE).status.success(), "it lets nobody in without a password");

    engine.stop_engine().unwrap();
    assert!(std::os::unix::net::UnixStream::connect(engine.socket()).is_err());
    engine.start_engine().unwrap();
    assert!(std::os::unix::net::UnixStream::connect(engine.socket()).is_ok());

    let dir = engine.shared();
    drop(engine);
    assert!(!dir.exists());
}

#[test]
fn podman() {
    an_engine_with_registries(Kind::Podman);
}

#[test]
fn podman_without_root() {
    an_engine_with_registries(Kind::RootlessPodman);
}

#[test]
fn docker() {
    an_engine_with_registries(Kind::Docker);
}
