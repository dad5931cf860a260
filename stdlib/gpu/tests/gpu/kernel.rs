//! What the kernel and the library say when something is wrong, and of cards that are not NVIDIA's.

use std::path::Path;

use hob_model::ErrorKind;
use hob_std_gpu::port::Work;
use serde_json::json;

use crate::world::{Program, World, live, none, only, p1000};

fn machine(case: impl Fn(&World)) {
    let temp = tempfile::tempdir().unwrap();
    case(&live("NVML", temp.path()));
}

/// Puts a card on the bus, as the kernel shows it.
fn on_the_bus(w: &World, address: &str, files: &[(&str, &str)]) {
    for (name, text) in files {
        w.file(&format!("/sys/bus/pci/devices/{address}/{name}"), &format!("{text}\n"));
    }
}

const NVIDIA: &[(&str, &str)] = &[
    ("class", "0x030000"),
    ("vendor", "0x10de"),
    ("device", "0x1cb1"),
    ("uevent", "DRIVER=nvidia\nPCI_CLASS=30000"),
    ("drm/renderD129/dev", "226:129"),
];

const AMD: &[(&str, &str)] = &[
    ("class", "0x030000"),
    ("vendor", "0x1002"),
    ("device", "0x73df"),
    ("uevent", "DRIVER=amdgpu"),
    ("mem_info_vram_total", "8589934592"),
    ("mem_info_vram_used", "1073741824"),
    ("gpu_busy_percent", "12"),
    ("hwmon/hwmon3/temp1_input", "48000"),
    ("hwmon/hwmon3/power1_average", "33000000"),
    ("hwmon/hwmon3/power1_cap", "180000000"),
    ("hwmon/hwmon3/freq1_input", "2450000000"),
    ("drm/card1/dev", "226:1"),
    ("drm/renderD130/dev", "226:130"),
];

#[test]
fn a_broken_driver_is_told_of_each_card_with_its_cure() {
    // Codes of nvml.h: driver not loaded, no permission, version mismatch.
    let cases = [
        (9, "driver is not loaded", "modprobe nvidia"),
        (4, "permission", "/dev/nvidiactl"),
        (18, "different versions", "restart the machine"),
    ];
    for (code, why, cure) in cases {
        machine(|w| {
            w.scripted(&format!("init {code}\n"));
            on_the_bus(w, "0000:01:00.0", NVIDIA);
            let card = w.gives("get", none());
            let problem = card["problem"].as_str().unwrap();
            assert!(problem.contains(why) && problem.contains(cure), "{problem}");
            assert_eq!(card["name"], "NVIDIA GPU 10de:1cb1");
            let refused = w.refuses("memory", none(), ErrorKind::Unavailable);
            assert!(refused.message.contains(why), "{refused}");
            w.refuses("devices", none(), ErrorKind::Unavailable);
        });
    }
}

#[test]
fn a_broken_driver_that_hides_all_cards_is_an_error() {
    machine(|w| {
        w.scripted("init 18\n");
        let refused = w.refuses("list", none(), ErrorKind::Unavailable);
        assert!(refused.hint.clone().unwrap().contains("restart the machine"), "{refused}");
        // Without the driver and without a card there is nothing to complain about.
        w.scripted("init 9\n");
        assert_eq!(w.gives("list", none()), json!([]));
    });
}

#[test]
fn the_library_is_loaded_anew_when_the_driver_is_back() {
    machine(|w| {
        w.has(&[(p1000(0, &[]), &[])]);
        assert_eq!(w.gives("get", none())["usable"], true);
        w.scripted("init 9\n");
        assert_eq!(w.gives("list", none()), json!([]));
        w.has(&[(p1000(0, &[]), &[])]);
        assert_eq!(w.gives("get", none())["usable"], true);
    });
}

#[test]
fn a_lost_card_is_told_and_the_others_go_on() {
    machine(|w| {
        let programs = [Program { pid: u32::MAX - 1, work: Work::Compute, bytes: 1 << 20 }];
        w.has(&[(p1000(0, &programs), &programs), (p1000(1, &programs), &programs)]);
        let text = "driver 550\ncard GPU-lost\nlost\ncard GPU-fine\nname A2000\npci 00000000:02:00.0\ncompute 8 6\n\
                    total 6442450944\ncompute_process 4294967294 1048576\n";
        w.scripted(text);
        let cards = w.gives("list", none());
        let brief: Vec<_> =
            cards.as_array().unwrap().iter().map(|it| only(it, &["usable", "architecture"])).collect();
        let expected = [
            json!({ "usable": true, "architecture": "ampere" }),
            json!({ "usable": false, "architecture": null }),
        ];
        assert_eq!(brief, expected);
        assert!(cards[1]["problem"].as_str().unwrap().contains("fell off the bus"), "{cards}");
        assert_eq!(w.gives("processes", none()).as_array().unwrap().len(), 1);
        let refused = w.refuses("devices", none(), ErrorKind::Unavailable);
        assert!(refused.message.contains("lost"), "{refused}");
    });
}

#[test]
fn the_render_node_of_a_card_is_that_of_the_bus() {
    machine(|w| {
        w.has(&[(p1000(0, &[]), &[])]);
        on_the_bus(w, "0000:01:00.0", NVIDIA);
        w.nodes(&["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/renderD129"]);
        let nodes = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/renderD129"];
        assert_eq!(w.gives("devices", none()), json!(nodes));
    });
}

#[test]
fn a_card_of_amd_tells_what_its_driver_measures() {
    machine(|w| {
        w.scripted("init 9\n");
        on_the_bus(w, "0000:03:00.0", AMD);
        on_the_bus(w, "0000:04:00.0", &[("class", "0x020000"), ("vendor", "0x8086")]);
        let card = w.gives("get", none());
        let keys =
            ["id", "vendor", "name", "driver", "memory", "temperature", "power", "clocks", "utilization"];
        let expected = json!({
            "id": "0000:03:00.0", "vendor": "amd", "name": "AMD GPU 1002:73df", "driver": "amdgpu",
            "memory": { "total": 8_589_934_592_u64, "used": 1_073_741_824, "free": 7_516_192_768_u64, "reserved": 0 },
            "temperature": 48, "power": { "draw": 33.0, "limit": 180.0 },
            "clocks": { "graphics": 2450, "memory": null },
            "utilization": { "gpu": 12, "memory": null, "encoder": null, "decoder": null },
        });
        assert_eq!(only(&card, &keys), expected);
        w.refuses("devices", none(), ErrorKind::Unavailable);
        w.nodes(&["/dev/dri/renderD130", "/dev/kfd"]);
        assert_eq!(w.gives("devices", none()), json!(["/dev/kfd", "/dev/dri/renderD130"]));
    });
}

#[test]
fn who_uses_a_card_is_named_by_container_and_unit() {
    machine(|w| {
        let programs = [Program { pid: 4242, work: Work::Compute, bytes: 900 << 20 }];
        w.has(&[(p1000(0, &programs), &programs)]);
        on_the_bus(w, "0000:03:00.0", AMD);
        let id = "fedcba9876543210".repeat(4);
        w.file("/proc/4242/comm", "frigate.process\n");
        w.file("/proc/4242/cgroup", &format!("0::/machine.slice/libpod-{id}.scope/container\n"));
        w.file("/proc/77/comm", "jellyfin\n");
        w.file("/proc/77/cgroup", "0::/system.slice/jellyfin.service\n");
        for (file, client) in [(3, 9), (4, 9), (5, 10)] {
            let text =
                format!("drm-pdev: 0000:03:00.0\ndrm-client-id: {client}\ndrm-memory-vram: 1024 KiB\n");
            w.file(&format!("/proc/77/fdinfo/{file}"), &text);
        }
        let expected = json!([
            { "card": 0, "pid": 4242, "name": "frigate.process", "work": "compute", "memory": 900 << 20, "container": id, "unit": null },
            // Two open files of one client count once.
            { "card": 1, "pid": 77, "name": "jellyfin", "work": "unknown", "memory": 2 << 20, "container": null, "unit": "jellyfin.service" },
        ]);
        assert_eq!(w.gives("processes", none()), expected);
    });
}

#[test]
fn a_missing_library_is_told_where_a_card_is() {
    let temp = tempfile::tempdir().unwrap();
    let w = live("NVML", temp.path());
    std::fs::remove_file(temp.path().join("libnvidia-ml.so.1")).unwrap();
    assert_eq!(w.gives("list", none()), json!([]));
    on_the_bus(&w, "0000:01:00.0", NVIDIA);
    let problem = w.gives("get", none())["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("libnvidia-ml.so.1 is not installed"), "{problem}");
    assert!(Path::new(temp.path()).exists());
}
