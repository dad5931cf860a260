//! Properties of transient units.

use hob_model::ErrorKind;
use serde_json::{Value as Json, json};

use crate::world::{World, everywhere, items, lab, live};

/// Those of which no other has the same kind of value.
const EXAMPLES: &str = r#"{
        "Type": "oneshot", "Restart": "no", "OOMPolicy": "stop", "NotifyAccess": "main", "BusName": "org.example.Lab",
        "PIDFile": "/run/lab.pid", "FailureAction": "none", "SuccessAction": "none", "User": "nobody",
        "Group": "nogroup", "Slice": "lab.slice", "WorkingDirectory": "/", "RootDirectory": "/",
        "StandardInput": "null", "StandardOutput": "journal", "StandardError": "inherit", "SyslogIdentifier": "lab",
        "PAMName": "lab", "TTYPath": "/dev/console", "UtmpIdentifier": "lab", "Personality": "x86-64",
        "RuntimeDirectoryPreserve": "yes", "KillMode": "mixed", "ProtectHome": "read-only", "ProtectSystem": "strict",
        "ProtectProc": "invisible", "ProcSubset": "pid", "DevicePolicy": "closed", "ManagedOOMMemoryPressure": "auto",
        "ManagedOOMSwap": "auto", "CPUSchedulingPolicy": "batch", "IOSchedulingClass": "idle", "LogLevelMax": "info",
        "EnvironmentFile": "-/no/such/file", "LoadCredential": "key:/etc/hostname", "CPUQuota": "150%",
        "SystemCallFilter": "~@mount @reboot", "RestrictAddressFamilies": ["AF_UNIX", "AF_INET"],
        "SystemCallArchitectures": "native", "AmbientCapabilities": "CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet": "~CAP_SYS_ADMIN", "TemporaryFileSystem": "/srv:ro", "DeviceAllow": "/dev/null rw",
        "RequiresMountsFor": "/tmp", "PassEnvironment": "LANG", "UnsetEnvironment": "LANG"}"#;

/// An example of each property that a transient unit can be given.
fn examples() -> Json {
    let mut all: Json = serde_json::from_str(EXAMPLES).unwrap();
    let mut more = |names: &str, value: Json| {
        names
            .split(' ')
            .for_each(|name| drop(all.as_object_mut().unwrap().insert(name.to_owned(), value.clone())));
    };
    more(
        "After Before BindsTo Conflicts OnFailure OnSuccess PartOf Requires Requisite Upholds Wants",
        json!("lab.target"),
    );
    more(
        "DefaultDependencies StopWhenUnneeded DynamicUser RemoveIPC IgnoreSIGPIPE SendSIGHUP SendSIGKILL",
        json!(true),
    );
    more(
        "LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices PrivateIPC PrivateMounts",
        json!(true),
    );
    more(
        "PrivateNetwork PrivateTmp PrivateUsers ProtectClock ProtectControlGroups ProtectHostname",
        json!("yes"),
    );
    more(
        "ProtectKernelLogs ProtectKernelModules ProtectKernelTunables RestrictRealtime RestrictSUIDSGID",
        json!(true),
    );
    more("CPUAccounting Delegate IOAccounting IPAccounting MemoryAccounting TasksAccounting", json!(true));
    more("RestartSec RuntimeMaxSec StartLimitIntervalSec TimeoutStartSec TimeoutStopSec", json!("1m30s"));
    more("TimeoutAbortSec WatchdogSec CPUQuotaPeriodSec", json!("500ms"));
    more("StartLimitBurst CPUSchedulingPriority IOSchedulingPriority Nice OOMScoreAdjust", json!(1));
    more(
        "ExecCondition ExecStartPre ExecStartPost ExecReload ExecStop ExecStopPost",
        json!(["/bin/true", "$HOME"]),
    );
    more("SupplementaryGroups", json!(["adm", "daemon"]));
    more(
        "RuntimeDirectory StateDirectory CacheDirectory LogsDirectory ConfigurationDirectory",
        json!("hob-lab"),
    );
    more("UMask RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode", json!("0750"));
    more(
        "LimitAS LimitCORE LimitCPU LimitDATA LimitFSIZE LimitMEMLOCK LimitNOFILE LimitNPROC LimitSTACK",
        json!("1G"),
    );
    more("KillSignal RestartKillSignal FinalKillSignal WatchdogSignal", json!("SIGQUIT"));
    more(
        "ExecPaths InaccessiblePaths NoExecPaths ReadOnlyPaths ReadWritePaths",
        json!(["-/no/such/path", "/srv"]),
    );
    more("BindPaths BindReadOnlyPaths", json!(["-/no/such/path:/mnt", "/srv"]));
    more("CPUWeight IOWeight StartupCPUWeight StartupIOWeight TasksMax", json!(100));
    more("MemoryHigh MemoryLow MemoryMax MemoryMin MemorySwapMax", json!("64M"));
    more("IODeviceWeight", json!("/dev/null 100"));
    more("IOReadBandwidthMax IOReadIOPSMax IOWriteBandwidthMax IOWriteIOPSMax", json!("/dev/null 10M"));
    all
}

/// Each property by itself, on a timer's service, so that nothing is started: systemd takes it, and knows it afterwards.
#[test]
fn every_property_is_taken() {
    everywhere(|w| {
        if w.user {
            return; // the same table, and the same systemd
        }
        let unknown = json!(["/bin/true", {"properties": {"Unknown": 1}}]);
        let error = w.refused("run", unknown, ErrorKind::Invalid);
        let known: Vec<&str> =
            items(error.details.get("known").unwrap()).iter().map(|name| name.as_str().unwrap()).collect();
        let examples = examples();
        let examples = examples.as_object().unwrap();
        let missing: Vec<_> = known.iter().filter(|name| !examples.contains_key(**name)).collect();
        assert!(missing.is_empty() && examples.len() == known.len(), "without an example: {missing:?}");
        let refused = |(at, (name, value)): (usize, (&String, &Json))| {
            let options =
                json!({"name": format!("property-{at}"), "on_active": "1h", "properties": {name: value}});
            let w = w.again(name);
            let refused = w.try_call("run", json!(["/bin/true", options])).err();
            drop(w.try_call("stop", json!([format!("property-{at}.timer")])));
            refused.map(|error| format!("{name}: {error}"))
        };
        let refused: Vec<String> = examples.iter().enumerate().filter_map(refused).collect();
        assert_eq!(refused, Vec::<String>::new(), "{}", w.name);
    });
}

/// What the values mean to systemd.
#[test]
fn properties_arrive_as_they_are_meant() {
    let Some((systemd, _)) = lab() else { return };
    let w = World::new("systemd", live(systemd));
    let properties = json!({
        "UMask": "0027", "KillSignal": "SIGINT", "CPUSchedulingPolicy": "batch", "IOSchedulingClass": "idle",
        "CapabilityBoundingSet": ["CAP_CHOWN", "cap_net_raw"], "SystemCallFilter": "~@mount", "LimitNOFILE": 512,
        "DeviceAllow": ["/dev/null rw"], "BindReadOnlyPaths": "/srv:/mnt", "TemporaryFileSystem": "/opt:ro",
        "MemoryMax": "64M", "CPUQuota": "50%", "TimeoutStopSec": "7s", "EnvironmentFile": "-/no/such/file",
        "RestrictAddressFamilies": "AF_UNIX", "StartLimitBurst": 3,
    });
    w.call("run", json!(["/bin/sleep 1000", {"name": "meant", "wait": false, "properties": properties}]));
    let shown = systemd.command("systemctl").args(["show", "meant.service"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "UMask=0027",
        "KillSignal=2",
        "CPUSchedulingPolicy=3",
        "IOSchedulingClass=3",
        "CapabilityBoundingSet=cap_chown cap_net_raw",
        "LimitNOFILE=512",
        "LimitNOFILESoft=512",
        "DeviceAllow=/dev/null rw",
        "BindReadOnlyPaths=/srv:/mnt:rbind",
        "TemporaryFileSystem=/opt:ro",
        "MemoryMax=67108864",
        "CPUQuotaPerSecUSec=500ms",
        "TimeoutStopUSec=7s",
        "EnvironmentFiles=/no/such/file (ignore_errors=yes)",
        "RestrictAddressFamilies=AF_UNIX",
        "StartLimitBurst=3",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let filter = shown.lines().find(|line| line.starts_with("SystemCallFilter=")).unwrap();
    assert!(filter.contains('~') && filter.contains("mount"), "{filter}");
    w.call("stop", json!(["meant"]));
}

#[test]
fn properties_that_cannot_be() {
    everywhere(|w| {
        for (properties, says) in [
            (json!({"MemoryMaxx": "1G"}), "did you mean \"MemoryMax\"?"),
            (json!({"ExecStart": "/bin/true"}), "it is the first argument"),
            (json!({"MemoryMax": "much"}), "MemoryMax: `much` is no size"),
            (json!({"CPUQuota": "half"}), "expected a share of one processor"),
            (json!({"Nice": "low"}), "Nice: expected a small whole number"),
            (json!({"Requires": "a/b"}), "no name of a unit"),
            (json!({"User": "a\nb"}), "a text of one line"),
            (json!({"UMask": 27}), "octal digits"),
            (json!({"UMask": "0999"}), "octal digits"),
            (json!({"KillSignal": "SIGNAL"}), "\"SIGNAL\" is none of SIGHUP"),
            (json!({"CapabilityBoundingSet": "CAP_ALL"}), "there is no capability CAP_ALL"),
            (json!({"BindPaths": "data:/data"}), "no absolute path"),
            (json!({"IOReadBandwidthMax": "/dev/sda much"}), "`much` is no size"),
        ] {
            let args = json!(["/bin/true", {"properties": properties}]);
            let error = w.refused("run", args, ErrorKind::Invalid);
            let said = format!("{} {}", error.message, error.hint.unwrap_or_default());
            assert!(said.contains(says), "{said}");
        }
        for (cmd, says) in [(json!([]), "empty"), (json!("'open"), "not closed"), (json!(["a\u{0}"]), "NUL")]
        {
            assert!(w.refused("run", json!([cmd]), ErrorKind::Invalid).message.contains(says));
        }
    });
}
