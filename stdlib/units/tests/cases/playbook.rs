//! The playbook of the examples, in both worlds.

use std::sync::Arc;

use hob_engine::Evaluated;
use hob_model::Value;
use hob_primitive::{Ports, Registry};
use hob_std_units::primitive;
use hob_testkit::{Scripts, on_script_stack};
use serde_json::json;

use crate::world::{SLEEPER, everywhere, items, text};

const PLAYBOOK: &str = include_str!("../../../../examples/systemd/status.rhai");

#[test]
fn the_status_of_a_machine_in_one_line_each() {
    everywhere(|w| {
        w.unit("status-luxnix", SLEEPER);
        w.call("start", json!(["status-luxnix"]));
        let port = Arc::clone(&w.port);
        on_script_stack(move || {
            let mut ports = Ports::default();
            ports.insert(port);
            let scripts = Scripts::new(Registry::new(vec![primitive()]).unwrap(), ports);
            let cwd = tempfile::tempdir().unwrap();
            let status = match scripts.run("status.rhai", PLAYBOOK, cwd.path()) {
                Evaluated::Succeeded(status) => status,
                other => panic!("{other:?}"),
            };
            assert!(["running", "degraded", "starting"].contains(&text(&status, "state")), "{status:?}");
            let of = |key: &str| items(status.get(key).unwrap()).to_vec();
            assert!(of("active").contains(&Value::from("status-luxnix.service")));
            assert!(of("luxnix").contains(&Value::from("status-luxnix.service running")));
            assert_eq!(of("own")[5], Value::from("minio.service not-found inactive"));
        });
    });
}
