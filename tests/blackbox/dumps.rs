//! Services that are backed up: databases as streams, files while they are stopped, and back into them.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hob_lab::engine::{Engine, Kind};
use hob_lab::postgres::{self, Postgres};
use hob_tests::home::Home;
use hob_tests::{long, until};
use serde_json::{Value as Json, json};

use crate::backup::{restic, told_in_argv};
use crate::canaries::{Canaries, scan, silent, with_secrets};
use crate::engines::is_there;
use crate::refills::{PEAK_MIB_MAX, peak_mib};
use crate::services::{House, LIMITS};

/// A few MB, or a few hundred.
fn rows() -> u64 {
    if long() { 2_000_000 } else { 20_000 }
}

/// Fills a database; what it holds does not compress.
fn filling() -> String {
    format!(
        "CREATE TABLE track (id bigint PRIMARY KEY, name text, plays int DEFAULT 0); \
         CREATE TABLE album (id int PRIMARY KEY); INSERT INTO album SELECT generate_series(1, 100); \
         INSERT INTO track SELECT n, md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) FROM generate_series(1, {}) n",
        rows()
    )
}

/// The status of the backups of one thing.
fn status(home: &Home, name: &str) -> Json {
    let all: Json = serde_json::from_str(home.hob(&["backup", "status", "--json"]).out()).unwrap();
    let found = all.as_array().unwrap().iter().find(|it| it["dataset"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}"))["repositories"][0].clone()
}

#[test]
fn a_database_streams_into_a_repository_is_proved_and_comes_back() {
    let Some(server) = hob_lab::started("PostgreSQL", postgres::missing(), Postgres::start) else { return };
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    let _ = server.sql("postgres", "CREATE DATABASE music");
    let _ = server.sql("music", &filling());
    let _ = server.sql("postgres", "CREATE ROLE keeper SUPERUSER LOGIN");
    let _ = server.sql("postgres", &format!("ALTER ROLE keeper PASSWORD '{}'", canaries.value("token")));
    let homelab = r#"
        homelab(#{ name: "house", timezone: "UTC" });
        let db = service("db", #{ command: ["sleep", "1000"], stop_timeout: "1s", backup: #{
            to: "nas", password: secret("token"), when: "0 10 * * *",
            dump: #{ postgres: #{ host: "127.0.0.1", port: PORT, user: "keeper", password: secret("token") } },
            verify: #{ when: "0 6 1 * *", scratch: "scratch", rows: #{ music: ROWS } },
        } });
        service("player", #{ command: ["sleep", "1000"], stop_timeout: "1s", needs: [db] });
        service("broken", #{ command: ["sleep", "1000"], stop_timeout: "1s", backup: #{
            to: "nas", password: secret("token"), when: false, upkeep: false, verify: false, retry: #{ attempts: 1 },
            dump: #{ command: ["sh", "-c", "head -c 5000000 /dev/urandom; echo the disk of the server fails >&2; exit 3"], name: "it.dump" },
        } });"#;
    let of_rows = |least: u64| format!("#{{ \"public.track\": {least} }}");
    let write = |least: u64| {
        let text = homelab.replace("PORT", &server.port().to_string()).replace("ROWS", &of_rows(least));
        home.write("homelab.rhai", text);
    };
    write(rows());
    let hob = |args: &[&str]| {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
        ran
    };
    let _made = hob(&["backup", "init", "db"]).exits(0);
    let alone = hob(&["backup", "run", "db"]).exits(1);
    let _alone = alone.saying("hob up");
    let mut up = home.up(".", &[]);
    // Nobody sees the password while it is dumped.
    let over = Arc::new(AtomicBool::new(false));
    let (told, watched) = (Arc::clone(&over), canaries.value("token").to_owned());
    let watcher = std::thread::spawn(move || {
        let mut seen = false;
        while !told.load(Ordering::SeqCst) {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let text = String::from_utf8_lossy(&line).into_owned();
                seen |= text.contains("pg_dump");
                assert!(!text.contains(&watched), "{text}");
            }
        }
        seen
    });
    // Roles, the database that every server has, and the one of people: a snapshot each.
    let begun = std::time::Instant::now();
    let done = hob(&["backup", "run", "db"]).exits(0).printing("of 3 files");
    let (took, peak) = (begun.elapsed(), peak_mib(up.process.pid()));
    over.store(true, Ordering::SeqCst);
    assert!(watcher.join().unwrap(), "the dump was never seen: {done:?}");
    assert_eq!(told_in_argv(&canaries), None);
    assert_eq!(status(&home, "db")["state"], "good");
    let listed: Json =
        serde_json::from_str(&restic(&home, &canaries, "nas", &["snapshots", "--json"])).unwrap();
    let paths: Vec<&str> =
        listed.as_array().unwrap().iter().map(|it| it["paths"][0].as_str().unwrap()).collect();
    assert_eq!(paths, ["/db/postgres/globals.sql", "/db/postgres/music.dump", "/db/postgres/postgres.dump"]);
    // The dump was on no disk of this home, as itself.
    assert!(!home.path("dumps").exists() && !home.path("scratch").exists());

    let proved = hob(&["backup", "verify", "db", "--json"]).exits(0).json();
    assert_eq!(proved["output"]["done"][0]["rows"], rows() + 100, "{proved}");
    // Whatever the size of the database, it only passes through.
    let size = server.sql("postgres", "SELECT pg_database_size('music') >> 20");
    println!("{size} MiB of a database: dumped in {took:?}, hob had {peak} MiB at most");
    assert!(peak < PEAK_MIB_MAX, "hob had {peak} MiB in memory");
    assert!(home.path("scratch").read_dir().unwrap().next().is_none(), "the drill leaves nothing");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'hob%'"), "0");

    // A dump that fails midway is no snapshot.
    let failed = hob(&["backup", "run", "broken"]).exits(1);
    let _failed = failed.saying("sh ended with exit code 3: the disk of the server fails");
    assert_eq!(status(&home, "broken")["state"], "failing");
    let kept: Json =
        serde_json::from_str(&restic(&home, &canaries, "nas", &["snapshots", "--json"])).unwrap();
    assert_eq!(kept.as_array().unwrap().len(), 3, "{kept}");

    // A mistake, and back: what needs the database is stopped meanwhile, and runs again.
    let _ =
        server.sql("music", "DROP TABLE album; UPDATE track SET plays = 1; DELETE FROM track WHERE id > 10");
    let before = home.service("player")["instance"].clone();
    let _plan = hob(&["backup", "restore", "db", "--dry-run"]).exits(0).printing("~ postgres/music.dump");
    assert_eq!(server.sql("music", "SELECT count(*) FROM track"), "10");
    let _part = hob(&["backup", "restore", "db", "--part", "music.dump", "--yes"]).exits(0);
    assert_eq!(server.sql("music", "SELECT count(*), sum(plays) FROM track"), format!("{}|0", rows()));
    assert_eq!(server.sql("music", "SELECT count(*) FROM album"), "100");
    until("what needs it runs again", || {
        let now = home.service("player");
        (now["state"] == "ready" && now["instance"] != before).then_some(())
    });
    let _ = server.sql("postgres", "DROP DATABASE music");
    let _all = hob(&["backup", "restore", "db", "--yes"]).exits(0);
    assert_eq!(server.sql("music", "SELECT count(*) FROM track"), rows().to_string());
    let _away = hob(&["backup", "restore", "db", "--to", "elsewhere", "--part", "music.dump"]).exits(0);
    assert!(home.path("elsewhere/db/postgres/music.dump").is_file());
    let _none = hob(&["backup", "restore", "db", "--part", "film.dump", "--yes"]).exits(1).saying("no part");
    silent(&canaries, "the daemon", &up.stop());

    // A drill that finds fewer rows than there should be says so.
    write(rows() + 1);
    let mut up = home.up(".", &[]);
    let _less = hob(&["backup", "verify", "db"]).exits(1).saying(&format!("has {} rows", rows()));
    silent(&canaries, "the daemon", &up.stop());
    scan(&home, &canaries);
}

/// PostgreSQL in a container, from the programs of this machine, and a service of files.
const INSIDE: &str = r#"
homelab(#{ name: "house", timezone: "UTC" });
let quick = #{ image: "IMAGE", ulimits: LIMITS };
let db = service("postgres", quick + #{
    command: ["sh", "-c", "[ -e /data/pg/PG_VERSION ] || initdb -D /data/pg -U postgres -A trust --no-sync >&2; exec postgres -D /data/pg -k /data -h '' -c fsync=off"],
    env: #{ PATH: "PROGRAMS:/bin", PGHOST: "/data" }, user: "USER", ready: exec(["pg_isready", "-q"]), ready_timeout: "2m",
    stop_signal: "SIGINT",
    volumes: ["/usr/lib:/usr/lib:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro", "/usr/share:/usr/share:ro", "/etc/passwd:/etc/passwd:ro",
              "SHARED/data:/data"],
    backup: #{ to: "nas", password: secret("token"), dump: "postgres", verify: #{ scratch: "scratch" } },
});
service("app", quick + #{ command: ["sleep", "1000"], needs: [db], stop_signal: "SIGKILL" });
service("notes", quick + #{
    command: ["sleep", "1000"], stop_signal: "SIGKILL", volumes: ["SHARED/notes:/notes"],
    backup: #{ to: "nas", password: secret("token"), stop: true, exclude: ["cache"], verify: #{ scratch: "scratch" } },
});
service("broken", quick + #{
    command: ["sleep", "1000"], stop_signal: "SIGKILL",
    backup: #{
        to: "nas", password: secret("token"), retry: #{ attempts: 1 },
        dump: #{ command: ["sh", "-c", "head -c 5000000 /dev/urandom; echo it fails >&2; exit 3"], name: "it.dump" },
    },
});
"#;

#[test]
fn a_database_in_a_container_is_dumped_from_inside_and_files_while_they_stand_still() {
    if !is_there(Kind::Podman.missing()) || !is_there(postgres::missing()) {
        return;
    }
    let engine = Engine::start(Kind::Podman).expect("Podman starts");
    let canaries = Canaries::new();
    let mut inside = engine.inside("env").expect("the lab is there");
    let home = with_secrets(&canaries);
    inside.arg("--chdir").arg(home.dir());
    let socket = format!("unix://{}", engine.socket().display());
    let house = House { home: home.through(&inside).with_env("CONTAINER_HOST", socket), engine };
    let (home, shared) = (&house.home, house.engine.shared());
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    std::fs::create_dir_all(shared.join("data")).unwrap();
    std::fs::create_dir_all(shared.join("notes/cache")).unwrap();
    assert!(Command::new("chown").arg("postgres:").arg(shared.join("data")).status().unwrap().success());
    std::fs::write(shared.join("notes/one.md"), "one").unwrap();
    std::fs::write(shared.join("notes/cache/page"), "page").unwrap();
    let programs = postgres::programs().unwrap();
    let text = INSIDE
        .replace("PROGRAMS", programs.to_str().unwrap())
        .replace("USER", &format!("{}:{}", id("-u"), id("-g")))
        .replace("SHARED", shared.to_str().unwrap())
        .replace("IMAGE", hob_lab::engine::IMAGE)
        .replace("LIMITS", LIMITS);
    home.write("homelab.rhai", text);
    let mut up = home.up(".", &[]);
    let hob = |args: &[&str]| {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
        ran
    };
    let sql = |database: &str, text: &str| {
        house.podman(&[
            "exec",
            "postgres",
            "psql",
            "-U",
            "postgres",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            text,
        ])
    };
    let _ = sql("postgres", "CREATE DATABASE music");
    let _ = sql("music", &filling());
    let _made = hob(&["backup", "init", "postgres"]).exits(0);
    let _done = hob(&["backup", "run", "postgres"]).exits(0).printing("of 3 files");
    let proved = hob(&["backup", "verify", "postgres", "--json"]).exits(0).json();
    assert_eq!(proved["output"]["done"][0]["rows"], rows() + 100, "{proved}");
    let _ = sql("music", "DROP TABLE album; DELETE FROM track");
    let _back = hob(&["backup", "restore", "postgres", "--yes"]).exits(0);
    assert_eq!(sql("music", "SELECT count(*) FROM track"), rows().to_string());
    house.until_ready("app", |_| true);

    // A dump that fails midway is no snapshot.
    let _failed = hob(&["backup", "run", "broken"]).exits(1).saying("sh ended with exit code 3: it fails");
    let _none = hob(&["backup", "list", "broken"]).exits(0).saying("no snapshots");

    // Files are copied while nobody writes them, and the service runs again afterwards.
    let first = house.id("notes");
    let _done = hob(&["backup", "run", "notes"]).exits(0).printing("of 1 files");
    house.until_ready("notes", |house| house.id("notes") != first);
    std::fs::write(shared.join("notes/one.md"), "a mistake").unwrap();
    let second = house.id("notes");
    let _back = hob(&["backup", "restore", "notes", "--yes"]).exits(0).printing("1 replaced");
    assert_eq!(std::fs::read_to_string(shared.join("notes/one.md")).unwrap(), "one");
    house.until_ready("notes", |house| house.id("notes") != second);
    let held: Json = json!(house.service("notes")["held"]);
    assert_eq!(held, false);
    let _proved = hob(&["backup", "verify", "notes"]).exits(0).printing("is whole: 1 files");
    House::stop(&mut up);
    restic(home, &canaries, "nas", &["check", "--read-data"]);
}

const FORGE: &str = include_str!("../../examples/forge/homelab.rhai");
const HOUSE: &str = include_str!("../../examples/backup/homelab.rhai");

/// An example whose containers are programs here.
fn with_stand_ins(home: &Home, example: &str, to: &[(&str, String)]) -> String {
    let container = |line: &&str| {
        ["volumes:", "env:", "ready:", "port:"].iter().any(|key| line.trim_start().starts_with(key))
    };
    let lines = example.lines().filter(|line| !container(line)).map(|line| match line.trim_start() {
        image if image.starts_with("image:") => "command: [\"sleep\", \"1000\"], stop_timeout: \"1s\",",
        _ => line,
    });
    let mut text = lines.collect::<Vec<_>>().join("\n").replace("secret(\"restic\")", "secret(\"token\")");
    for (from, to) in to {
        assert!(text.contains(from), "{from} is not in the example");
        text = text.replace(from, to);
    }
    for place in ["/mnt/share", "/mnt/backups", "/mnt/data"] {
        text = text.replace(place, home.path(place.trim_start_matches('/')).to_str().unwrap());
    }
    text
}

#[test]
fn the_forge_of_the_examples_is_backed_up_and_proved() {
    let Some(server) = hob_lab::started("PostgreSQL", postgres::missing(), Postgres::start) else { return };
    let _ = server.sql("postgres", "CREATE DATABASE gitea");
    let _ = server.sql("gitea", "CREATE TABLE issue AS SELECT generate_series(1, 1000) AS id");
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("repositories/app.git/HEAD", "ref: refs/heads/main");
    let gitea = home.write(
        "bin/gitea",
        format!(
            "#!/bin/sh\n[ \"$4\" = tar.zst ] || exit 9\nexec tar --zstd -cf - -C {} .\n",
            home.path("repositories").display()
        ),
    );
    crate::set_mode(&gitea, 0o755);
    let at = format!("#{{ postgres: #{{ host: {:?}, port: {} }} }}", server.dir(), server.port());
    let replaced = [
        ("dump: \"postgres\"", format!("dump: {at}")),
        ("\"gitea\", \"dump\"", format!("{gitea:?}, \"dump\"")),
        ("user: \"git\"", "user: \"root\"".to_owned()),
    ];
    home.write("homelab.rhai", with_stand_ins(&home, FORGE, &replaced));
    let mut up = home.up(".", &[]);
    let listed = home.json(&["schedule", "list"]);
    let listed = listed.as_array().unwrap();
    let daily = listed.iter().find(|it| it["name"] == "postgres.backup").unwrap().to_string();
    assert!(daily.contains("0 10 * * *"), "{daily}");
    for (service, files) in [("postgres", 3), ("gitea", 1)] {
        let _made = home.hob(&["backup", "init", service]).exits(0);
        let _done = home.hob(&["backup", "run", service]).exits(0).printing(&format!("of {files} files"));
        let _proved = home.hob(&["backup", "verify", service]).exits(0).printing("is whole");
        assert_eq!(status(&home, service)["state"], "good");
    }
    silent(&canaries, "the daemon", &up.stop());
    let _whole =
        restic(&home, &canaries, "mnt/share/gitea/backups", &["dump", "latest", "/gitea/gitea.tar.zst"]);
    scan(&home, &canaries);
}

#[test]
fn the_house_of_the_examples_is_backed_up_to_what_can_be_reached() {
    let Some(server) = hob_lab::started("PostgreSQL", postgres::missing(), Postgres::start) else { return };
    let _ = server.sql("postgres", "CREATE DATABASE nextcloud");
    let _ = server.sql("nextcloud", "CREATE TABLE oc_users AS SELECT 'admin' AS uid");
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("mnt/data/vaultwarden/db.sqlite3", "a file");
    home.write("mnt/data/jellyfin/cache/image", "made again");
    home.write("mnt/data/postgres/base", "dumped");
    let at = format!("#{{ postgres: #{{ host: {:?}, port: {} }} }}", server.dir(), server.port());
    let replaced = [
        ("dump: \"postgres\"", format!("dump: {at}")),
        ("dump: \"redis\"", "dump: #{ command: [\"echo\", \"REDIS\"], name: \"dump.rdb\" }".to_owned()),
        ("rest:https://backup.example.net/house", home.path("away").display().to_string()),
        (", user: \"house\", secret: secret(\"backup-server\")", String::new()),
        ("stop: true", "stop: true, paths: [\"/mnt/data/vaultwarden\"]".to_owned()),
        ("retry: #{ attempts: 3, backoff: \"10m\" }", "retry: #{ attempts: 1 }".to_owned()),
    ];
    home.write("homelab.rhai", with_stand_ins(&home, HOUSE, &replaced));
    let mut up = home.up(".", &[]);
    let place = home.path("mnt/backups/restic").display().to_string();
    // One place alone is there: the others go on.
    let _made = home.hob(&["backup", "init", "config", "--from", &place]).exits(0);
    for (name, files) in [("config", 1), ("postgres", 3), ("redis", 1), ("vaultwarden", 1)] {
        let run = home.hob(&["backup", "run", name]).exits(1).saying("1 of 2 repositories failed");
        let _done = run.printing(&format!("of {files} files"));
        let _proved = home.hob(&["backup", "verify", name, "--from", &place]).exits(0).printing("is whole");
    }
    until("what was stopped runs again", || (home.service("vaultwarden")["state"] == "ready").then_some(()));
    silent(&canaries, "the daemon", &up.stop());
    restic(&home, &canaries, "mnt/backups/restic", &["check", "--read-data"]);
    scan(&home, &canaries);
}
