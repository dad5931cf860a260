//! What holds for each machine.

use hob_model::ErrorKind;
use hob_std_gpu::port::Work;
use serde_json::json;

use crate::world::{Program, everywhere, none, only, p1000};

const MIB: u64 = 1 << 20;

#[test]
fn a_card_tells_what_it_is_and_does() {
    everywhere(|w| {
        let programs = [Program { pid: u32::MAX - 7, work: Work::Compute, bytes: 1000 * MIB }];
        w.has(&[(p1000(0, &programs), &programs)]);
        let cards = w.gives("list", none());
        let expected = json!([{
            "index": 0, "id": "GPU-00aa-p1000", "vendor": "nvidia", "name": "Quadro P1000", "pci": "0000:01:00.0",
            "driver": "550.54.14", "architecture": "pascal", "compute": "6.1",
            "supports": {
                "fp16": false, "tensor_cores": false,
                "encode": ["h264", "hevc"], "decode": ["h264", "hevc", "vp9"],
            },
            "memory": { "total": 4096 * MIB, "used": 1000 * MIB, "free": 3032 * MIB, "reserved": 64 * MIB },
            "utilization": { "gpu": 37, "memory": 12, "encoder": 80, "decoder": 5 },
            "temperature": 61, "fan": null, "power": { "draw": 31.5, "limit": null },
            "clocks": { "graphics": 1480, "memory": 2505 }, "pcie": { "generation": 3, "width": 16 },
            "encoder_sessions": 2, "ecc": null, "mig": null, "usable": true, "problem": null,
        }]);
        assert_eq!(cards, expected, "{}", w.name);
        assert_eq!(w.gives("get", none()), cards[0], "{}", w.name);
        assert_eq!(w.gives("memory", none()), cards[0]["memory"], "{}", w.name);
        assert_eq!(w.gives("utilization", json!([0])), cards[0]["utilization"], "{}", w.name);
    });
}

#[test]
fn a_card_is_named_by_place_id_address_and_name() {
    everywhere(|w| {
        let mut ada = p1000(1, &[]);
        ada.name = "NVIDIA RTX 4000 Ada".to_owned();
        ada.compute = Some((8, 9));
        w.has(&[(p1000(0, &[]), &[]), (ada, &[])]);
        for name in
            [json!(1), json!("GPU-11aa-p1000"), json!("GPU-11"), json!("0000:02:00.0"), json!("rtx 4000")]
        {
            let card = w.gives("get", json!([name]));
            assert_eq!(only(&card, &["index", "architecture"]), json!({ "index": 1, "architecture": "ada" }));
        }
        let refused = w.refuses("get", json!(["Radeon"]), ErrorKind::NotFound);
        let hint = refused.hint.clone().unwrap();
        assert!(
            hint.contains("0 Quadro P1000 (GPU-00aa-p1000), 1 NVIDIA RTX 4000 Ada"),
            "{}: {hint}",
            w.name
        );
        w.refuses("get", json!([2]), ErrorKind::NotFound);
        w.refuses("get", json!(["GPU-"]), ErrorKind::Invalid);
        w.refuses("memory", none(), ErrorKind::Invalid);
        w.refuses("get", json!([true]), ErrorKind::Invalid);
    });
}

#[test]
fn a_machine_without_cards_has_none() {
    everywhere(|w| {
        w.has(&[]);
        assert_eq!(w.gives("list", none()), json!([]), "{}", w.name);
        assert_eq!(w.gives("processes", none()), json!([]), "{}", w.name);
        assert_eq!(w.gives("cdi", none()), json!([]), "{}", w.name);
        w.refuses("get", none(), ErrorKind::NotFound);
        w.refuses("devices", none(), ErrorKind::NotFound);
    });
}

#[test]
fn the_largest_process_comes_first() {
    everywhere(|w| {
        let pid = |n: u32| u32::MAX - n;
        let first = [
            Program { pid: pid(1), work: Work::Compute, bytes: 300 * MIB },
            Program { pid: pid(2), work: Work::Graphics, bytes: 700 * MIB },
        ];
        let second = [Program { pid: pid(3), work: Work::Compute, bytes: 500 * MIB }];
        w.has(&[(p1000(0, &first), &first), (p1000(1, &second), &second)]);
        let shown = |args| {
            let processes = w.gives("processes", args);
            let line = |it: &serde_json::Value| (it["card"].as_u64(), it["pid"].as_u64(), it["work"].clone());
            processes.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
        };
        let line = |card: u64, n: u32, work: &str| (Some(card), Some(u64::from(pid(n))), json!(work));
        assert_eq!(shown(none()), [line(0, 2, "graphics"), line(1, 3, "compute"), line(0, 1, "compute")]);
        assert_eq!(shown(json!([1])), [line(1, 3, "compute")], "{}", w.name);
    });
}

const NODES: &[&str] =
    &["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];

const SPECIFICATION: &str = "
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
  - { name: '0', containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }] } }
  - { name: all, containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }] } }
containerEdits: { deviceNodes: [{ path: /dev/nvidiactl }], mounts: [{ hostPath: /usr/lib/libcuda.so.550.54.14 }] }
";

#[test]
fn a_container_gets_device_nodes_or_a_name() {
    everywhere(|w| {
        w.has(&[(p1000(0, &[]), &[])]);
        let refused = w.refuses("devices", none(), ErrorKind::Unavailable);
        assert!(refused.message.contains("/dev/nvidia0"), "{}: {refused}", w.name);
        w.nodes(NODES);
        assert_eq!(w.gives("devices", none()), json!(NODES), "{}", w.name);
        w.refuses("devices", json!([{ "form": "cdi" }]), ErrorKind::NotFound);
        // A specification that an update of the driver has made stale is passed over, and told of.
        w.file("/etc/cdi/nvidia.yaml", SPECIFICATION);
        assert_eq!(w.gives("devices", none()), json!(NODES), "{}", w.name);
        let problem = "/usr/lib/libcuda.so.550.54.14 is not there";
        let known = |usable: bool| {
            let problem = (!usable).then_some(problem);
            let entry = |name| json!({ "name": name, "file": "/etc/cdi/nvidia.yaml", "usable": usable, "problem": problem });
            json!([entry("nvidia.com/gpu=0"), entry("nvidia.com/gpu=all")])
        };
        assert_eq!(w.gives("cdi", none()), known(false), "{}", w.name);
        let refused = w.refuses("devices", json!([0, { "form": "cdi" }]), ErrorKind::Unavailable);
        assert!(refused.message.contains(problem), "{}: {refused}", w.name);
        w.file("/usr/lib/libcuda.so.550.54.14", "");
        assert_eq!(w.gives("cdi", none()), known(true), "{}", w.name);
        assert_eq!(w.gives("devices", none()), json!(["nvidia.com/gpu=all"]), "{}", w.name);
        assert_eq!(w.gives("devices", json!(["P1000"])), json!(["nvidia.com/gpu=0"]), "{}", w.name);
        assert_eq!(w.gives("devices", json!([{ "form": "nodes" }])), json!(NODES), "{}", w.name);
        w.refuses("devices", json!([{ "form": "usb" }]), ErrorKind::Invalid);
    });
}
