//! `containers::ensure`: what it compares, how it replaces, and what a failure or a crash in the middle leaves.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

mod world;

use std::path::Path;

use hob_lab::engine::Kind;
use hob_model::{ErrorKind, Value};
use hob_std_containers::fake::Strikes;
use hob_std_containers::port::{EngineError, Fault};
use serde_json::{Value as Json, json};
use world::{Case, engines, everywhere, flag, list, text};

fn because(value: &Value) -> Vec<&str> {
    list(value.get("because").unwrap()).iter().filter_map(Value::as_str).collect()
}

/// Without root and with control groups v1, as this machine may have them, no limit holds.
const LIMITS: [&str; 7] =
    ["cpus", "cpu_shares", "cpuset", "mem_limit", "mem_reservation", "memswap_limit", "pids_limit"];

fn has_no_limits(case: &Case) -> bool {
    case.kind() == Some(Kind::RootlessPodman) && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Everything that Compose has and the lab's kernel can do.
fn rich(case: &Case, port: u16) -> Json {
    let mut all = json!({
        "command": ["sleep", "1000"],
        "environment": {"A": "1", "B": "two words"},
        "ports": [format!("127.0.0.1:{port}:80"), {"target": 53, "published": port, "protocol": "udp"}],
        "expose": ["9000"],
        "volumes": ["/tmp:/x:ro,rslave", "/var/tmp:/y"],
        "tmpfs": ["/scratch:size=1m"],
        "user": "0:0",
        "working_dir": "/bin",
        "hostname": "inner",
        "labels": {"tier": "core"},
        "cap_add": ["NET_ADMIN"],
        "cap_drop": ["CAP_MKNOD"],
        "devices": ["/dev/null:/dev/zigbee:rw"],
        "security_opt": ["no-new-privileges"],
        "read_only": true,
        "cpus": 0.5,
        "mem_limit": "64M",
        "memswap_limit": "128M",
        "pids_limit": 100,
        "shm_size": "32M",
        "sysctls": {"net.ipv4.ip_forward": 1},
        "restart": "on-failure:3",
        "dns": ["10.0.0.1"],
        "dns_search": ["lan"],
        "extra_hosts": ["nas:10.0.0.2"],
        "stop_grace_period": "3s",
        "healthcheck": {"test": ["CMD", "true"], "interval": "30s", "retries": 3},
        "logging": {"driver": "k8s-file", "options": {"max-size": "1m"}},
        "group_add": ["10"],
    });
    if has_no_limits(case) {
        LIMITS.iter().for_each(|limit| drop(all.as_object_mut().unwrap().remove(*limit)));
    }
    if case.kind() == Some(Kind::Docker) {
        all["logging"] = json!({"driver": "json-file", "options": {"max-size": "1m"}});
    }
    all
}

#[test]
fn what_is_as_declared_stays() {
    everywhere(|case| {
        let (name, port) = (case.name("rich"), case.port());
        let first = case.ensure(&name, rich(case, port)).unwrap();
        assert_eq!((flag(&first, "changed"), because(&first)), (true, vec!["it did not exist"]), "{case}");
        let again = case.ensure(&name, rich(case, port)).unwrap();
        assert_eq!(because(&again), Vec::<&str>::new(), "{case}");
        assert_eq!((flag(&again, "changed"), text(&again, "id")), (false, text(&first, "id")), "{case}");

        case.call("containers::stop", json!([name])).unwrap();
        let again = case.ensure(&name, rich(case, port)).unwrap();
        assert_eq!((flag(&again, "recreated"), because(&again)), (false, vec!["it was exited"]), "{case}");
        assert_eq!(text(&case.call("containers::get", json!([name])).unwrap(), "state"), "running");
    });
}

#[test]
fn every_change_is_seen_and_said() {
    everywhere(|case| {
        let (name, port) = (case.name("changes"), case.port());
        case.ensure(&name, rich(case, port)).unwrap();
        for (key, value, says) in [
            ("environment", json!({"A": "2", "B": "two words"}), "environment A changed"),
            ("environment", json!({"B": "two words"}), "environment A is no longer declared"),
            ("mem_limit", json!("32M"), "mem_limit: 67108864 → 33554432"),
            ("cap_add", json!(["NET_ADMIN", "SYS_TIME"]), "cap_add SYS_TIME is new: yes"),
            ("sysctls", json!({"net.ipv4.ip_forward": 0}), "sysctl net.ipv4.ip_forward changed"),
            ("volumes", json!(["/tmp:/x:ro,rslave", "/var:/y"]), "volume /y: /var/tmp rw → /var rw"),
            ("labels", json!({"tier": "media"}), "label tier: core → media"),
            ("restart", json!("always"), "restart: on-failure:3 → always"),
            ("logging", json!({"driver": "none"}), "logging changed"),
            ("command", json!(["sleep", "999"]), "command: sleep 1000 → sleep 999"),
        ] {
            if has_no_limits(case) && LIMITS.contains(&key) {
                continue;
            }
            let mut spec = rich(case, port);
            spec[key] = value;
            let spec_start = {
                let mut spec = spec.clone();
                spec["start"] = json!(false);
                spec
            };
            let it = case.ensure(&name, spec_start).unwrap();
            assert!(flag(&it, "recreated"), "{case}: {key}");
            assert_eq!(because(&it), [says], "{case}: {key}");
            let back = case
                .ensure(&name, {
                    let mut spec = rich(case, port);
                    spec["start"] = json!(false);
                    spec
                })
                .unwrap();
            assert!(flag(&back, "recreated"), "{case}: {key} back");
        }
    });
}

#[test]
fn what_does_not_start_leaves_what_was() {
    everywhere(|case| {
        let (name, other, port) = (case.name("kept"), case.name("has-port"), case.port());
        case.ensure(&other, json!({"command": "sleep 1000", "ports": [format!("{port}:80")]})).unwrap();
        let before = case.ensure(&name, json!({"command": "sleep 1000"})).unwrap();
        let spec = json!({"command": "sleep 1000", "ports": [format!("{port}:80")]});
        let error = case.ensure(&name, spec).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{case}: {error}");
        assert!(error.details.get("kept").is_some(), "{case}: {error:?}");
        let now = case.call("containers::get", json!([name])).unwrap();
        assert_eq!((text(&now, "id"), text(&now, "state")), (text(&before, "id"), "running"), "{case}");
        let all = case.call("containers::list", json!([{"name": name}])).unwrap();
        assert_eq!(list(&all).len(), 1, "{case}: nothing else is left");

        let error =
            case.ensure(&name, json!({"image": "localhost/absent:1", "pull_policy": "never"})).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{case}: {error}");
        let now = case.call("containers::get", json!([name])).unwrap();
        assert_eq!(
            text(&now, "id"),
            text(&before, "id"),
            "{case}: an image that is missing is noticed before"
        );
    });
}

#[test]
fn a_crash_at_any_call_is_put_right_by_doing_it_again() {
    let lost = || EngineError::new(Fault::Lost, "hob died here");
    // Which calls a replacement makes.
    let calls = {
        let case = Case::fake();
        case.ensure("web", json!({"command": "sleep 1"})).unwrap();
        let fake = case.fake.clone().unwrap();
        drop(fake.faults().take_calls());
        case.ensure("web", json!({"command": "sleep 2"})).unwrap();
        fake.faults().take_calls()
    };
    assert!(calls.len() > 8, "{calls:?}");
    for (at, when) in (0..calls.len()).flat_map(|at| [(at, Strikes::Before), (at, Strikes::After)]) {
        let case = Case::fake();
        let fake = case.fake.clone().unwrap();
        case.ensure("web", json!({"command": "sleep 1"})).unwrap();
        fake.faults().crash_at(at, when, lost());
        let died = case.ensure("web", json!({"command": "sleep 2"})).unwrap_err();
        assert_eq!(died.kind, ErrorKind::Unavailable, "{at} {when:?}: {died}");
        fake.faults().revive();
        case.ensure("web", json!({"command": "sleep 2"})).unwrap();
        let all = case.call("containers::list", json!([])).unwrap();
        let all = list(&all);
        assert_eq!(all.len(), 1, "{at} {when:?} {}: {all:?}", calls[at]);
        assert_eq!((text(&all[0], "name"), text(&all[0], "state")), ("web", "running"), "{at} {when:?}");
        assert_eq!(text(&all[0], "command"), "sleep 2", "{at} {when:?}");
    }
}

#[test]
fn shared_networks() {
    everywhere(|case| {
        let (vpn, client) = (case.name("vpn"), case.name("client"));
        case.ensure(&vpn, json!({"command": "sleep 1000"})).unwrap();
        let spec = json!({"command": "sleep 1000", "network_mode": format!("container:{vpn}")});
        case.ensure(&client, spec.clone()).unwrap();
        assert!(!flag(&case.ensure(&client, spec.clone()).unwrap(), "changed"), "{case}");
        // The one whose network it is is another one now: what shares it hangs in a network that is gone.
        case.ensure(&vpn, json!({"command": "sleep 1000", "environment": {"NEW": 1}})).unwrap();
        let it = case.ensure(&client, spec).unwrap();
        assert!(
            flag(&it, "recreated") && because(&it)[0].starts_with("network_mode: container:"),
            "{case}: {it:?}"
        );

        // What it left behind for the sake of the other goes with the next look.
        assert!(!flag(
            &case.ensure(&vpn, json!({"command": "sleep 1000", "environment": {"NEW": 1}})).unwrap(),
            "changed"
        ));
        let left = case.call("containers::list", json!([{"name": vpn}])).unwrap();
        assert_eq!(list(&left).len(), 1, "{case}");

        let spec = json!({"command": "sleep 1000", "network_mode": "service:nobody"});
        let error = case.ensure(&case.name("alone"), spec).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::NotFound, "there is no container nobody"),
            "{case}"
        );
    });
}

/// Options, each by itself or with those that it goes with.
fn options() -> Vec<Json> {
    vec![
        json!({"restart": "no"}),
        json!({"restart": "unless-stopped"}),
        json!({"restart": "on-failure"}),
        json!({"network_mode": "host"}),
        json!({"network_mode": "none"}),
        json!({"network_mode": "bridge"}),
        json!({"ports": [80]}),
        json!({"ports": ["8000-8002:9000-9002", "0.0.0.0:53:53/udp", "[::1]:81:81"]}),
        json!({"entrypoint": ["sh", "-c"], "command": ["echo a b"]}),
        json!({"entrypoint": "sleep 10"}),
        json!({"command": ["sh", "-c", "echo 'a  b'; sleep 1"]}),
        json!({"user": "1000"}),
        json!({"privileged": true}),
        json!({"read_only": false, "tty": true, "stdin_open": true}),
        json!({"cap_add": ["ALL"]}),
        json!({"cap_add": ["CHOWN"], "cap_drop": ["ALL"]}),
        json!({"cpu_shares": 512, "cpuset": "0"}),
        json!({"cpus": 2, "mem_limit": "1G", "mem_reservation": "512M"}),
        json!({"oom_score_adj": 100}),
        json!({"pids_limit": -1}),
        json!({"dns_opt": ["ndots:1"], "dns": ["1.1.1.1", "9.9.9.9"]}),
        json!({"ipc": "host", "pid": "host", "uts": "host"}),
        json!({"ipc": "private"}),
        json!({"hostname": "h", "domainname": "example.net"}),
        json!({"stop_grace_period": "90s", "stop_signal": "SIGINT"}),
        json!({"healthcheck": {"disable": true}}),
        json!({"healthcheck": {"test": "true", "interval": "1m30s", "timeout": "10s", "start_period": "1m"}}),
        json!({"volumes": ["/anonymous", "named:/named", "/tmp:/tmp:rw,rshared"]}),
        json!({"volumes": [{"type": "bind", "source": "/tmp", "target": "/t", "read_only": true}]}),
        json!({"tmpfs": ["/tmp", "/run:size=64m,mode=1777"]}),
        json!({"labels": ["a=b", "c=d=e"], "environment": ["A=b=c", "EMPTY="]}),
        json!({"extra_hosts": {"a": "10.0.0.1", "b": "10.0.0.2"}}),
        json!({"security_opt": ["seccomp=unconfined", "label=disable"]}),
        json!({"device_cgroup_rules": ["c 189:* rmw"]}),
        json!({"shm_size": 1048576, "sysctls": ["net.ipv4.ip_forward=1"]}),
        json!({"group_add": ["10", "20"], "working_dir": "/"}),
        json!({"secrets": {"s": "/etc/hostname"}}),
        json!({"expose": ["80", "53/udp"]}),
        json!({"devices": [{"source": "/dev/null", "target": "/dev/zigbee", "permissions": "rw"}, {"source": "/dev/zero"}]}),
    ]
}

#[test]
fn each_option_is_found_as_it_was_declared() {
    everywhere(|case| {
        case.ensure(&case.name("other"), json!({"command": "sleep 1000"})).unwrap();
        for option in options() {
            let name = case.name("option");
            let mut spec = option.clone();
            spec["start"] = json!(false);
            if has_no_limits(case)
                && LIMITS.iter().any(|limit| !option[limit].is_null() && option[limit] != -1)
            {
                let error = case.ensure(&name, spec).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Invalid, "{case}: {option}: {error}");
                assert!(error.message.contains("passes over these limits"), "{error}");
                let left = case.call("containers::list", json!([{"name": name}])).unwrap();
                assert_eq!(list(&left).len(), 0, "{case}: {option}: nothing is left behind");
                continue;
            }
            case.ensure(&name, spec.clone()).unwrap_or_else(|error| panic!("{case}: {option}: {error}"));
            let again = case.ensure(&name, spec).unwrap();
            assert_eq!(because(&again), Vec::<&str>::new(), "{case}: {option}");
            case.call("containers::remove", json!([name, {"volumes": true}])).unwrap();
        }
    });
}

/// With a CDI name Podman makes containers by its own API: they must be the same.
#[test]
fn containers_with_cdi_names_are_found_as_they_were_declared() {
    for case in engines().map(Case::of).filter(|case| case.kind() == Some(Kind::Podman)) {
        case.ensure(&case.name("other"), json!({"command": "sleep 1000"})).unwrap();
        let everything = rich(&case, case.port());
        for option in options().into_iter().chain([everything]) {
            let (plain, with_card) = (case.name("plain"), case.name("with-card"));
            let mut spec = option.clone();
            spec["start"] = json!(false);
            case.ensure(&plain, spec.clone()).unwrap();
            let mut devices = spec["devices"].as_array().cloned().unwrap_or_default();
            devices.push(json!("lab.example/card=one"));
            spec["devices"] = json!(devices);
            case.ensure(&with_card, spec.clone()).unwrap_or_else(|error| panic!("{option}: {error}"));
            let again = case.ensure(&with_card, spec).unwrap();
            assert_eq!(because(&again), Vec::<&str>::new(), "{option}");

            let config = |name: &str| {
                let found = case.call("containers::inspect", json!([name])).unwrap();
                let part = |key: &str| Value::to_json(found.get(key).unwrap()).unwrap();
                (part("Config"), part("HostConfig"))
            };
            let unlike = unlike(config(&plain), config(&with_card));
            // Only then the engine chooses.
            let is_chosen =
                |text: &String| option["ports"] == json!([80]) && text.starts_with("PortBindings");
            assert!(unlike.iter().all(is_chosen), "{option}: {unlike:#?}");
            for name in [plain, with_card] {
                case.call("containers::remove", json!([name, {"volumes": true}])).unwrap();
            }
        }
    }
}

/// What is not the same in two containers although it should be.
fn unlike(plain: (Json, Json), other: (Json, Json)) -> Vec<String> {
    let config = [
        "Env",
        "Cmd",
        "Entrypoint",
        "User",
        "WorkingDir",
        "Tty",
        "OpenStdin",
        "StopSignal",
        "StopTimeout",
        "Healthcheck",
    ];
    let host = [
        "PortBindings",
        "NetworkMode",
        "RestartPolicy",
        "CapAdd",
        "CapDrop",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "ExtraHosts",
        "GroupAdd",
        "IpcMode",
        "PidMode",
        "UTSMode",
        "Privileged",
        "ReadonlyRootfs",
        "SecurityOpt",
        "ShmSize",
        "NanoCpus",
        "Memory",
        "MemoryReservation",
        "MemorySwap",
        "CpuShares",
        "CpusetCpus",
        "PidsLimit",
        "OomScoreAdj",
        "Ulimits",
        "LogConfig",
        "Tmpfs",
    ];
    let compared = config.map(|key| (key, &plain.0[key], &other.0[key])).into_iter();
    let compared = compared.chain(host.map(|key| (key, &plain.1[key], &other.1[key])));
    let differs = |(key, one, other): (&str, &Json, &Json)| {
        (sorted(one) != sorted(other)).then(|| format!("{key}: {one} {other}"))
    };
    compared.filter_map(differs).collect()
}

/// The items of a list in order: what engines list in any.
fn sorted(value: &Json) -> Json {
    let Json::Array(items) = value else { return value.clone() };
    let mut items = items.clone();
    items.sort_by_key(Json::to_string);
    items.into()
}
