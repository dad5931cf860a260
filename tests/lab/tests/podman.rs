//! The engine comes up, its registries serve, and nothing of it is left.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test of real programs

use hob_lab::podman::{IMAGE, Podman, REGISTRY, REGISTRY_PRIVATE};

#[test]
fn an_engine_with_registries() {
    let Some(podman) = hob_lab::started("podman", Podman::missing(), Podman::start) else { return };
    let said = podman.cli(&["run", "--rm", IMAGE, "echo", "hello"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello\n", "{said:?}");

    podman.start_registries().unwrap();
    let pull = |name: &str| podman.cli(&["pull", "-q", &format!("{name}/busybox:1")]).unwrap();
    assert!(pull(REGISTRY).status.success(), "{:?}", pull(REGISTRY));
    assert!(!pull(REGISTRY_PRIVATE).status.success(), "it lets nobody in without a password");

    podman.stop_engine().unwrap();
    assert!(std::os::unix::net::UnixStream::connect(podman.socket()).is_err());
    podman.start_engine().unwrap();
    assert!(std::os::unix::net::UnixStream::connect(podman.socket()).is_ok());

    let dir = podman.shared();
    drop(podman);
    assert!(!dir.exists());
}
