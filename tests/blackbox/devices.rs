//! What a container on a real Podman is given of a graphics card: by the name of a CDI device, or its device nodes.

use hob_tests::until;

use crate::gpu::{P1000, with_cards};
use crate::services::House;

const HOMELAB: &str = r#"
service("frigate", #{
    image: "IMAGE", command: ["sleep", "1000"], stop_signal: "SIGKILL", ulimits: LIMITS, restart: "never", gpu: true,
});
"#;

/// Makes device nodes of a card, which only this lab has: other devices stand in their place.
const NODES: &str = "
mkdir /run/dev /run/shm-here /run/pts-here
mount --bind /dev/shm /run/shm-here
mount --bind /dev/pts /run/pts-here
mount -t tmpfs -o mode=755,dev none /run/dev
mkdir /run/dev/upper /run/dev/work
mount -t overlay -o lowerdir=/dev,upperdir=/run/dev/upper,workdir=/run/dev/work overlay /dev
mount --bind /run/shm-here /dev/shm
mount --bind /run/pts-here /dev/pts
for name in nvidia0 nvidiactl nvidia-uvm; do mknod -m 666 /dev/$name c 1 5; done
";

/// The specification of the driver, with a library that it names.
fn specification(library: &str) -> String {
    r#"{ "cdiVersion": "0.3.0", "kind": "nvidia.com/gpu", "devices": [{ "name": "all", "containerEdits": {
        "deviceNodes": [{ "path": "/dev/nvidia0", "type": "c", "major": 1, "minor": 5 }],
        "mounts": [{ "hostPath": "LIBRARY", "containerPath": "/run/driver", "options": ["ro", "bind"] }]
    } }] }"#
        .replace("LIBRARY", library)
}

impl House {
    fn in_lab(&self, script: &str) {
        let ran = self.engine.inside("sh").unwrap().args(["-euc", script]).output().unwrap();
        assert!(ran.status.success(), "{script}: {ran:?}");
    }

    /// What the container finds of the card, and by what it was given.
    fn given(&self) -> String {
        let by = "if [ -e /run/driver ]; then echo by cdi; else echo by nodes; fi";
        let script = format!("ls /dev | grep nvidia; head -c 4 /dev/nvidia0 | wc -c; {by}");
        let seen = self.podman(&["exec", "frigate", "sh", "-c", &script]);
        seen.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_container_is_given_a_card_by_name_or_by_its_nodes_and_what_is_stale_is_told() {
    let home = with_cards(P1000);
    let library = home.path("lib/libnvidia-ml.so.1").display().to_string();
    let Some(house) = House::in_home(home, HOMELAB) else { return };
    house.in_lab(NODES);
    let file = house.engine.cdi().join("nvidia.json");
    std::fs::write(&file, specification(&library)).unwrap();
    let mut up = house.home.up("lab", &[]);
    let ready = || until("it is ready", || (house.home.service("frigate")["ready"] == true).then_some(()));
    ready();
    assert_eq!(house.given(), "nvidia0 4 by cdi");

    // The driver was updated, and its specification was not.
    std::fs::write(&file, specification(&library.replace("ml.so.1", "ml.so.550"))).unwrap();
    let told = house.home.hob(&["gpu"]).exits(0);
    assert!(told.says("nvidia.json") && told.says("ml.so.550 is not there"), "{told:?}");
    let _ = house.home.hob(&["restart", "frigate"]).exits(0);
    ready();
    assert_eq!(house.given(), "nvidia-uvm nvidia0 nvidiactl 4 by nodes");

    // A node that is missing is named, with the command that makes it.
    house.in_lab("rm /dev/nvidia-uvm");
    let told = house.home.hob(&["restart", "frigate"]).exits(1);
    assert!(told.says("/dev/nvidia-uvm") && told.says("nvidia-modprobe"), "{told:?}");
    House::stop(&mut up);
}
