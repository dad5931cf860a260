//! What only a network has: TLS, and files with secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hob_lab::mosquitto::{Mosquitto, account, missing};
use hob_model::{ErrorKind, Value};
use hob_primitive::{Subscribing as _, Wanted};
use hob_std_mqtt::{LiveMqtt, MqttPort, MqttSources};
use hob_testkit::Harness;
use serde_json::json;

#[test]
fn a_certificate_is_checked_and_a_password_read_from_its_file() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let lines = |dir: &Path| {
        std::fs::write(dir.join("cert.pem"), &certificate).unwrap();
        std::fs::write(dir.join("key.pem"), &key).unwrap();
        let dir_text = dir.display();
        format!("certfile {dir_text}/cert.pem\nkeyfile {dir_text}/key.pem\n{}", account(dir, "hob", "secret"))
    };
    let Some(broker) = hob_lab::started("a broker", missing(), || Mosquitto::start(lines)) else { return };
    let dir = broker.dir();
    std::fs::write(dir.join("password"), "secret\n").unwrap();
    let harness = Harness::new().port(Arc::new(LiveMqtt) as Arc<dyn MqttPort>).cwd(dir);
    let publish = |scheme: &str, options: serde_json::Value| {
        let url = format!("{scheme}://localhost:{}", broker.port());
        harness.call(&hob_std_mqtt::primitive(), "mqtt::publish", json!([url, "a", "x", options]))
    };
    let known = json!({ "user": "hob", "password_file": "password", "ca": "cert.pem" });
    publish("mqtts", known.clone()).unwrap();
    // An authority that nobody trusts, no TLS, a file that is not there.
    let untrusted = publish("mqtts", json!({ "user": "hob", "password_file": "password" })).unwrap_err();
    assert!(untrusted.kind == ErrorKind::Unavailable && untrusted.nothing_happened, "{untrusted}");
    assert!(publish("mqtt", known).is_err());
    let missing = publish("mqtts", json!({ "user": "hob", "password_file": "nowhere", "ca": "cert.pem" }));
    assert!(missing.unwrap_err().message.contains("nowhere"));
}

#[test]
fn what_is_wrong_with_a_trigger_is_told() {
    let sources = MqttSources::new(Arc::new(LiveMqtt));
    for (of, options, said) in [
        ("a/#/b", json!({ "broker": "mqtt://b" }), "is no filter of topics"),
        ("a", json!({}), "`broker` is missing"),
        ("a", json!({ "broker": "http://b" }), "is no address of a broker"),
        ("a", json!({ "broker": "mqtt://b", "usr": "x" }), "there is no option `usr`"),
        ("a", json!({ "broker": "mqtt://b", "qos": 2 }), "expected 0 or 1"),
        ("a", json!({ "broker": "mqtt://b", "password_file": "x" }), "no `user`"),
    ] {
        let Value::Map(options) = Value::from_json(options).unwrap() else { unreachable!("it is a map") };
        let options: BTreeMap<String, Value> = options;
        let wanted = Wanted { of, options: &options, directory: Path::new("/"), owner: "o" };
        let error = sources.source(&wanted).err().unwrap();
        assert!(error.message.contains(said), "{error}");
    }
}
