//! Databases that stream into a repository and come back into their services: Redis, MariaDB, and what a program reads.

use std::process::Command;

use hob_tests::home::Home;
use hob_tests::{long, until};
use serde_json::Value as Json;

use crate::backup::restic;
use crate::canaries::{Canaries, scan, silent, with_secrets};

/// Three services whose data is a dump, and one whose dump nobody reads.
const HOMELAB: &str = r#"
homelab(#{ name: "house", timezone: "UTC" });
let quick = #{ stop_timeout: "20s", restart: #{ policy: "always", backoff: "100ms" }, ready_timeout: "1m" };
let nas = #{ to: "nas", password: secret("token"), when: false, upkeep: false, verify: #{ when: "0 6 1 * *", scratch: "scratch" },
             retry: #{ attempts: 1 } };
service("redis", quick + #{
    command: ["redis-server", "--port", "0", "--unixsocket", "DIR/redis.socket", "--dir", "DIR/redis", "--save", "3600 1"],
    ready: exec(["sh", "-c", "redis-cli -s DIR/redis.socket PING | grep -q PONG"]),
    backup: nas + #{ dump: #{ redis: #{ host: "DIR/redis.socket" } } },
});
service("maria", quick + #{
    command: ["mariadbd", "--no-defaults", "--user=root", "--skip-networking", "--innodb-flush-log-at-trx-commit=0",
              "--datadir=DIR/maria", "--socket=DIR/maria.socket"],
    ready: exec(["mariadb-admin", "--no-defaults", "--socket=DIR/maria.socket", "ping"]),
    backup: nas + #{ dump: #{ mariadb: #{ host: "DIR/maria.socket", database: "cloud" } } },
});
service("notes", quick + #{
    command: ["sleep", "1000"],
    backup: nas + #{ dump: #{ command: ["cat", "notes"], name: "all.dump",
                              restore: ["sh", "-c", "echo read >> story; cat > notes.new && mv notes.new notes"] } },
});
service("mute", quick + #{ command: ["sleep", "1000"], backup: nas + #{ dump: #{ command: ["echo", "one"], name: "it" } } });
"#;

/// How many keys and rows: a few MB, or a few hundred.
fn count() -> u64 {
    if long() { 400_000 } else { 5_000 }
}

/// The most that hob has had in memory, in MiB.
pub(crate) fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// What hob may have in memory while dumps pass through it, whatever their size.
pub(crate) const PEAK_MIB_MAX: u64 = 400;

fn ran(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    assert!(done.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

/// The directory of the servers, each with its data.
fn filled(home: &Home) -> Option<String> {
    let dir = home.path("servers");
    std::fs::create_dir_all(dir.join("redis")).unwrap();
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--user=root", "--skip-test-db"])
        .arg(format!("--datadir={}", dir.join("maria").display()))
        .output();
    let is_made = made.is_ok_and(|it| it.status.success());
    let has_redis = Command::new("redis-server").arg("--version").output().is_ok();
    let missing = (!is_made || !has_redis).then(|| "mariadb-server and redis-server".to_owned());
    hob_lab::started("databases", missing, || Ok(()))?;
    Some(dir.display().to_string())
}

#[test]
fn what_streams_into_a_repository_comes_back_into_its_service() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    let Some(dir) = filled(&home) else { return };
    home.write("homelab.rhai", HOMELAB.replace("DIR", &dir));
    home.write("notes", "one\n".repeat(500_000));
    let hob = |args: &[&str]| {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
        ran
    };
    let socket = format!("{dir}/redis.socket");
    let redis = |args: &[&str]| ran("redis-cli", &[&["-s", &socket][..], args].concat());
    let place = format!("--socket={dir}/maria.socket");
    let sql = |text: &str| ran("mariadb", &["--no-defaults", "-N", &place, "-e", text]);
    let ready = |name: &str| {
        until(&format!("{name} is ready"), || (home.service(name)["state"] == "ready").then_some(()));
    };
    let mut up = home.up(".", &["-v"]);
    ["redis", "maria"].into_iter().for_each(ready);
    let fill = "math.randomseed(7) for n = 1, tonumber(ARGV[1]) do local v = '' for m = 1, 20 do v = v .. math.random() end redis.call('SET', 'key:' .. n, v) end";
    let _ = redis(&["EVAL", fill, "0", &count().to_string()]);
    assert_eq!(redis(&["DBSIZE"]), count().to_string());
    let _ = sql(&format!(
        "CREATE DATABASE cloud; USE cloud; CREATE TABLE cloud.files (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB; \
         INSERT INTO cloud.files SELECT seq, REPEAT(SHA2(seq, 256), 6) FROM seq_1_to_{}",
        count()
    ));
    let _made = hob(&["backup", "init", "redis"]).exits(0);
    for name in ["redis", "maria", "notes", "mute"] {
        let begun = std::time::Instant::now();
        let done = hob(&["backup", "run", name, "--json"]).exits(0).json();
        let bytes = done["output"]["done"][0]["bytes"].as_u64().unwrap();
        println!("{name}: {bytes} bytes in {:?}", begun.elapsed());
        let _proved = hob(&["backup", "verify", name]).exits(0).printing("is whole");
    }
    let peak = peak_mib(up.process.pid());
    println!("hob had {peak} MiB at most");
    assert!(peak < PEAK_MIB_MAX, "hob had {peak} MiB in memory");

    // All is lost; and comes back, where the services are.
    let _ = redis(&["FLUSHALL"]);
    let _ = redis(&["SET", "mistake", "1"]);
    let _ = sql("DROP TABLE cloud.files");
    home.write("notes", "a mistake");
    let _plan = hob(&["backup", "restore", "redis", "--dry-run"]).exits(0).printing("~ redis/dump.rdb");
    for name in ["redis", "maria", "notes"] {
        let _back = hob(&["backup", "restore", name, "--yes"]).exits(0).printing("1 replaced");
        ready(name);
    }
    assert_eq!(redis(&["DBSIZE"]), count().to_string());
    assert_eq!(redis(&["CONFIG", "GET", "save"]).lines().nth(1), Some("3600 1"), "as it was declared");
    assert_eq!(sql("SELECT COUNT(*) FROM cloud.files"), count().to_string());
    assert_eq!((home.read("notes").len(), home.lines("story").len()), (2_000_000, 1));
    // What the server had before is beside it.
    let before = std::fs::read(format!("{dir}/redis/dump.rdb.before")).unwrap();
    assert!(before.windows(7).any(|it| it == b"mistake"), "it is kept");

    // What does not go back by itself is told before anything is stopped.
    let life = home.service("mute")["instance"].clone();
    let refused = hob(&["backup", "restore", "mute", "--yes"]).exits(1);
    let _refused = refused.saying("restore: […]").saying("--to");
    assert_eq!(home.service("mute")["instance"], life);
    let listed: Vec<Json> =
        serde_json::from_str(&restic(&home, &canaries, "nas", &["snapshots", "--json"])).unwrap();
    let paths: Vec<&str> = listed.iter().map(|it| it["paths"][0].as_str().unwrap()).collect();
    assert_eq!(paths, ["/redis/redis/dump.rdb", "/maria/mariadb/cloud.sql", "/notes/all.dump", "/mute/it"]);
    silent(&canaries, "the daemon", &up.stop());
    restic(&home, &canaries, "nas", &["check", "--read-data"]);
    scan(&home, &canaries);
}

#[test]
fn a_program_that_does_not_take_all_of_a_dump_says_so() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("homelab.rhai", r#"
        homelab(#{ name: "house" });
        service("notes", #{ command: ["sleep", "1000"], stop_timeout: "1s", backup: #{
            to: "nas", password: secret("token"), when: false, upkeep: false, verify: false, retry: #{ attempts: 1 },
            dump: #{ command: ["seq", "1000000"], name: "numbers", restore: ["sh", "-c", "head -n 3 > got; echo the disk is full >&2; exit 4"] },
        } });"#);
    let mut up = home.up(".", &[]);
    let _made = home.hob(&["backup", "init", "notes"]).exits(0);
    let _done = home.hob(&["backup", "run", "notes"]).exits(0);
    let failed = home.hob(&["backup", "restore", "notes", "--yes"]).exits(1);
    let _failed = failed.saying("sh ended with exit code 4: the disk is full");
    until("the service runs again", || (home.service("notes")["state"] == "ready").then_some(()));
    assert_eq!(home.read("got"), "1\n2\n3\n");
    // A repository that cannot be read midway: the program never sees the end of its input.
    let text = home
        .read("homelab.rhai")
        .replace("head -n 3 > got; echo the disk is full >&2; exit 4", "cat > part; echo whole > ended");
    home.write("homelab.rhai", text);
    silent(&canaries, "the daemon", &up.stop());
    let packs: Vec<_> = walk(&home.path("nas/data"));
    let largest = packs.iter().max_by_key(|it| it.metadata().unwrap().len()).unwrap();
    let mut content = std::fs::read(largest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::remove_file(largest).unwrap();
    std::fs::write(largest, content).unwrap();
    let mut up = home.up(".", &[]);
    let _failed = home.hob(&["backup", "restore", "notes", "--yes"]).exits(1);
    assert!(!home.path("ended").exists(), "it took a part for the whole");
    silent(&canaries, "the daemon", &up.stop());
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
