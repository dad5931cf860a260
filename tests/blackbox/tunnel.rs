//! What goes through a tunnel never sends anything beside it, whatever happens to the tunnel.
//!
//! The tunnel is a route in the network name space of `vpn`: packets to [`FAR`] take it and vanish. Outside, on the bridge
//! of the engine, a program counts every packet to that network that it sees.

use std::process::{Child, Stdio};

use hob_lab::engine::IMAGE;
use hob_tests::until;
use jiff::{SignedDuration, Timestamp};

use crate::services::House;

/// A network that nobody has (RFC 5737).
const FAR: &str = "192.0.2";

const HOMELAB: &str = r#"
let quick = #{ stop_signal: "SIGKILL", stop_timeout: "1s", restart: #{ backoff: "50ms" }, ulimits: LIMITS, image: "IMAGE" };
let vpn = service("vpn", #{
    ready: log("tunnel up"), cap_add: ["NET_ADMIN"],
    command: ["sh", "-c", "sleep 0.3; ip route add blackhole FAR.0/24 && echo tunnel up; exec sleep 1000"],
} + quick);
service("torrents", #{
    network: via(vpn), ready: log("sending"), volumes: ["SHARED:/shared"],
    command: ["sh", "-c", "echo sending; while :; do ping -c 1 -W 1 FAR.1 >/dev/null 2>&1; echo sent >> /shared/sent; sleep 0.05; done"],
} + quick);
"#;

/// Writes a line for each packet to the far network that any interface of the lab sees.
const COUNTER: &str = r#"
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("listening", flush=True)
while True:
    packet, _ = s.recvfrom(65535)
    if len(packet) >= 20 and packet[0] >> 4 == 4 and packet[16:19] == bytes(map(int, sys.argv[1].split("."))):
        print("packet from", ".".join(map(str, packet[12:16])), flush=True)
"#;

/// The time within which hob must know that the tunnel is gone.
const NOTICED: SignedDuration = SignedDuration::from_secs(1);

/// When hob noticed that the tunnel had ended, each time.
fn failures(house: &House) -> Vec<Timestamp> {
    let events = house.home.json(&["events", "list", "service.failed", "--limit", "1000"]);
    let events = events.as_array().expect("events are a list").iter();
    let of_vpn = events.filter(|event| event["payload"]["service"] == "vpn");
    let mut times: Vec<_> = of_vpn.map(|event| event["at"].as_str().unwrap().parse().unwrap()).collect();
    times.sort();
    times
}

/// The counter outside; it ends with the test.
struct Counter {
    child: Child,
    said: std::path::PathBuf,
}

impl Counter {
    fn start(house: &House) -> Self {
        let said = house.engine.shared().join("counter");
        let mut command = house.engine.inside("python3").expect("the lab is there");
        command.args(["-c", COUNTER, FAR]).stdin(Stdio::null());
        let child = command.stdout(std::fs::File::create(&said).unwrap()).spawn().expect("python3 is there");
        let it = Self { child, said };
        until("the counter listens", || (!it.lines().is_empty()).then_some(()));
        it
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.said).unwrap().lines().map(str::to_owned).collect()
    }

    fn packets(&self) -> Vec<String> {
        self.lines().split_off(1)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nothing_is_sent_beside_the_tunnel_when_it_goes_and_comes_back() {
    let Some(house) = House::new(&HOMELAB.replace("FAR", FAR)) else { return };
    let counter = Counter::start(&house);
    let mut up = house.home.up("lab", &[]);
    let sent =
        || std::fs::read_to_string(house.engine.shared().join("sent")).unwrap_or_default().lines().count();
    let sends = |what: &str| {
        let before = sent();
        until(what, || (sent() > before + 3).then_some(()));
    };
    sends("torrents send");
    let mut noticed = Vec::new();
    for blow in [&["restart", "--time", "0", "vpn"][..], &["kill", "vpn"], &["stop", "--time", "0", "vpn"]] {
        let (before, seen) = (house.id("torrents"), failures(&house).len());
        house.podman(blow);
        let struck = Timestamp::now();
        house.until_ready("torrents", |house| house.id("torrents") != before);
        house.until_ready("vpn", |_| true);
        noticed.push(failures(&house)[seen].duration_since(struck));
        assert_eq!(house.network("torrents"), house.network("vpn"), "{blow:?}");
        sends("torrents send again");
    }
    assert_eq!(counter.packets(), [""; 0], "nothing left beside the tunnel");
    // A machine that has other work may be late once.
    println!("noticed {noticed:?} after the blow was over");
    assert!(noticed.iter().min() < Some(&NOTICED), "{noticed:?}");

    // The counter would have seen it.
    house.podman(&["run", "--rm", IMAGE, "sh", "-c", &format!("ping -c 1 -W 1 {FAR}.1 || true")]);
    until("the counter sees a packet", || (!counter.packets().is_empty()).then_some(()));
    House::stop(&mut up);
}
