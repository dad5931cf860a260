//! Shares of the network: what the kernels that tests run on cannot mount is shown as far as systemd goes.

use std::path::Path;
use std::sync::Arc;

use hob_engine::{Bundle, Evaluated, Mode};
use hob_model::{ErrorKind, RunEntry, Value};
use hob_primitive::{Ports, Registry};
use hob_std_units::primitive;
use hob_testkit::{Scripts, on_script_stack};
use serde_json::{Value as Json, json};

use crate::world::{World, everywhere, items, lab, live, text};

const PLAYBOOK: &str = include_str!("../../../../examples/systemd/share.rhai");

fn play(w: &World, input: Json) -> Value {
    let (port, (tell, told)) = (Arc::clone(&w.port), std::sync::mpsc::channel());
    on_script_stack(move || {
        let mut ports = Ports::default();
        ports.insert(port);
        let scripts = Scripts::new(Registry::new(vec![primitive()]).unwrap(), ports);
        let bundle = Arc::new(Bundle::of_text("share.rhai", PLAYBOOK, "test", ""));
        let (entry, input) = (RunEntry::Playbook("share.rhai".to_owned()), Value::from_json(input).unwrap());
        match scripts.evaluate(&bundle, entry, input, Path::new("/"), Mode::Live) {
            Evaluated::Succeeded(value) => tell.send(value).unwrap(),
            other => panic!("{other:?}"),
        }
    });
    told.recv().unwrap()
}

#[test]
fn shares_of_both_kinds() {
    everywhere(|w| {
        if w.user {
            return; // users mount nothing
        }
        for (kind, what) in [("nfs", "nas:/export/share"), ("cifs", "//nas/share")] {
            let place = format!("/run/{kind}-share/media");
            let unit = format!("run-{kind}-share-media.mount");
            // As systemd escapes it.
            let place = place.replace(&format!("{kind}-share"), &format!("{kind}/share"));
            let input = json!({"type": kind, "what": what, "where": place, "now": false});
            let made = play(w, input.clone());
            assert_eq!((text(&made, "unit"), made.get("changed")), (unit.as_str(), Some(&Value::Bool(true))));
            assert_eq!(play(w, input).get("changed"), Some(&Value::Bool(false)), "{}", w.name);
            let status = w.status(&unit);
            assert_eq!((text(&status, "load"), text(&status, "type")), ("loaded", "mount"), "{}", w.name);
            let automount = unit.replace(".mount", ".automount");
            assert_eq!(text(&w.status(&automount), "enabled"), "enabled", "{}", w.name);
            let file = w.call("cat", json!([unit]));
            assert!(text(&items(&file)[0], "text").contains(&format!("What={what}\n")));
        }
    });
}

/// What `systemd-analyze verify` says about the mistakes that are made with mounts.
#[test]
fn mistakes_in_mounts() {
    let Some((systemd, _)) = lab() else { return };
    let w = World::new("systemd", live(systemd));
    for (unit, text, says) in [
        (
            "run-a.mount",
            "[Mount]\nWhat=nas:/a\nWhere=/run/b\nType=nfs\n",
            "Where= setting doesn't match unit name",
        ),
        ("run-a.mount", "[Mount]\nWhere=/run/a\nType=nfs\n", "What= setting is missing"),
        ("run-a.mount", "[Mount]\nWhat=nas:/a\nWhere=run/a\n", "path is not absolute"),
        ("run-a.mount", "[Mount]\nWhat=nas:/a\nWhere=/run/a\nOption=soft\n", "Unknown key 'Option'"),
        ("run-a.automount", "[Automount]\nWhere=/run/b\n", "Where= setting doesn't match unit name"),
        ("run-a.automount", "[Automount]\nWhere=/run/a\nTimeoutIdleSec=soon\n", "Failed to parse"),
    ] {
        let error = w.refused("write_unit", json!([unit, text]), ErrorKind::Invalid);
        let said = format!("{:?}", error.details.get("problems"));
        assert!(said.contains(says), "{text}: {said}");
    }
}

/// Without such a file system in the kernel, or a server: the job fails, and says in the words of mount(8) why.
#[test]
fn a_mount_that_fails() {
    let Some((systemd, _)) = lab() else { return };
    let w = World::new("systemd", live(systemd));
    let mount = "[Mount]\nWhat=127.0.0.1:/export\nWhere=/run/unreachable\nType=nfs\nTimeoutSec=20\n";
    w.unit("run-unreachable.mount", mount);
    let error = w.refused("start", json!(["run-unreachable.mount"]), ErrorKind::Failed);
    assert_eq!(error.details.get("result").and_then(Value::as_str), Some("exit-code"), "{error:?}");
    let log = format!("{:?}", error.details.get("log"));
    assert!(log.contains("/run/unreachable"), "{log}");
}
