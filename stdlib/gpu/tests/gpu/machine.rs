//! The cards of this machine, where it has some that can be used.

use std::sync::Arc;

use hob_std_gpu::GpuPort;
use hob_std_gpu::live::LiveGpu;
use hob_testkit::Harness;
use serde_json::json;

/// What every card that NVML shows tells; a machine without one shows that nothing is made up.
#[test]
fn cards_of_this_machine_agree_with_themselves() {
    let harness = Harness::new().port::<dyn GpuPort>(Arc::new(LiveGpu::new()));
    let call =
        |name: &str, args| harness.call(&hob_std_gpu::primitive(), name, args).unwrap().to_json().unwrap();
    let cards = call("gpu::list", json!([]));
    let driver = std::path::Path::new("/proc/driver/nvidia/version").exists();
    let usable: Vec<_> = cards.as_array().unwrap().iter().filter(|it| it["usable"] == true).collect();
    let nvidia = usable.iter().filter(|it| it["vendor"] == "nvidia").count();
    assert!(!driver || nvidia > 0, "a loaded driver shows its cards: {cards}");
    for card in usable {
        assert_eq!(call("gpu::get", json!([card["id"]]))["index"], card["index"]);
        if card["vendor"] == "nvidia" {
            let memory = &card["memory"];
            let of = |key: &str| memory[key].as_u64().unwrap();
            assert_eq!(of("total"), of("used") + of("free") + of("reserved"), "{memory}");
            assert!(card["temperature"].as_u64().is_some_and(|it| (5..120).contains(&it)), "{card}");
            assert!(card["architecture"].is_string() && card["driver"].is_string(), "{card}");
        }
    }
}
