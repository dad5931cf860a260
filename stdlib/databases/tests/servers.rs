//! The operations on real servers: PostgreSQL, Redis, MariaDB, and files of SQLite.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use hob_lab::postgres::{self, PASSWORD, Postgres};
use hob_model::{ErrorKind, OpError};
use hob_primitive::HostPrograms;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn call(&self, name: &str, args: Json) -> Result<Json, OpError> {
        let programs = hob_std_process::live::Live::new(std::env::vars());
        let harness =
            Harness::new().port::<dyn HostPrograms>(Arc::new(programs)).cwd(self.0.path()).key(name);
        let primitives = hob_std_databases::primitives();
        let of = primitives.iter().find(|it| name.starts_with(&format!("{}::", it.name))).unwrap();
        Ok(harness.call(of, name, args)?.to_json().unwrap())
    }
}

fn server() -> Option<Postgres> {
    hob_lab::started("PostgreSQL", postgres::missing(), Postgres::start)
}

fn filled(server: &Postgres) {
    let _ = server.sql("postgres", "CREATE ROLE gitea LOGIN PASSWORD 'of-gitea'");
    let _ = server.sql("postgres", "CREATE DATABASE gitea OWNER gitea");
    let _ = server.sql(
        "gitea",
        "CREATE TABLE issue (id serial PRIMARY KEY, title text); CREATE TABLE \"Odd name\" (x int); \
         INSERT INTO issue (title) SELECT 'issue ' || n || repeat('x', 200) FROM generate_series(1, 5000) n; \
         INSERT INTO \"Odd name\" VALUES (1), (2), (3)",
    );
}

#[test]
fn postgres_is_dumped_proved_and_restored() {
    let Some(server) = server() else { return };
    filled(&server);
    let world = World::new();
    let target = json!({ "host": "127.0.0.1", "port": server.port(), "password": PASSWORD });
    let by_socket = json!({ "host": server.dir(), "port": server.port() });
    let pg = |name: &str, args: Json| world.call(&format!("databases::postgres::{name}"), args);

    let told = pg("ping", json!([target, {}])).unwrap();
    assert!(told["ready"] == true && told["version"].as_str().unwrap().starts_with("15."), "{told}");
    assert_eq!(
        pg("ping", json!([by_socket, {}])).unwrap()["ready"],
        true,
        "as its own user, without a password"
    );
    let rows = pg(
        "query",
        json!([target, "SELECT id, title FROM issue ORDER BY id LIMIT 1;", { "database": "gitea" }]),
    );
    assert_eq!(rows.unwrap()[0]["id"], 1);
    assert_eq!(pg("list", json!([target])).unwrap()[0]["name"], "gitea");
    assert_eq!(pg("replication", json!([target])).unwrap()["standby"], false);
    let extensions = pg("extensions", json!([target, {}])).unwrap();
    assert!(
        extensions.as_array().unwrap().iter().any(|it| it["name"] == "plpgsql" && it["installed"] == "1.0")
    );

    let dumped = pg("dump", json!([target, {}])).unwrap();
    assert_eq!(dumped, json!(world.path(&format!("dumps/127.0.0.1_{}", server.port()))));
    let dumps = PathBuf::from(dumped.as_str().unwrap());
    let globals = std::fs::read_to_string(dumps.join("globals.sql")).unwrap();
    assert!(globals.contains("CREATE ROLE gitea") && dumps.join("postgres.dump").exists());
    let dump = dumps.join("gitea.dump");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(dump.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let counts = json!({ "public.issue": 5000, "public.\"Odd name\"": 3 });
    let proved = pg("verify", json!([target, dump, { "rows": { "public.issue": 5000 } }])).unwrap();
    assert_eq!((&proved["rows"], &proved["counts"]), (&json!(5003), &counts));
    let wanting = pg("verify", json!([target, dump, { "rows": { "public.issue": 5001 } }])).unwrap_err();
    assert!(wanting.message.contains("has 5000 rows"), "{wanting:?}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'hob%'"), "0");

    // Into a new database, not over one that has something, and over it when asked.
    let made = pg("restore", json!([target, dump, { "database": "again" }])).unwrap();
    assert_eq!(made["counts"], counts);
    let refused = pg("restore", json!([target, dump, { "database": "again" }])).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    let _ = server.sql("again", "DELETE FROM issue");
    let clean = pg("restore", json!([target, dump, { "database": "again", "clean": true }])).unwrap();
    assert_eq!(clean["counts"], counts);
    let _roles = pg("restore", json!([target, dumps.join("globals.sql"), {}])).unwrap();

    // A dump that is cut is nothing: the database stays as it was.
    let bytes = std::fs::read(&dump).unwrap();
    std::fs::write(world.path("cut.dump"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = pg("restore", json!([target, "cut.dump", { "database": "cut" }])).unwrap_err();
    assert!(cut.message.contains("pg_restore ended with exit code 1"), "{cut:?}");
    assert_eq!(server.sql("cut", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
}

#[test]
fn what_goes_wrong_with_postgres_says_what_to_do() {
    let Some(server) = server() else { return };
    filled(&server);
    let world = World::new();
    let target = json!({ "host": "127.0.0.1", "port": server.port(), "password": PASSWORD });
    let pg = |name: &str, args: Json| world.call(&format!("databases::postgres::{name}"), args);
    let with = |key: &str, value: Json| {
        let mut other = target.clone();
        other[key] = value;
        other
    };
    let wrong = with("password", json!("not-it"));
    let cases = [
        (pg("ping", json!([wrong, {}])), ErrorKind::Denied, "secrets::get"),
        (
            pg("dump", json!([target, { "database": "gita" }])),
            ErrorKind::NotFound,
            "database \"gita\" does not exist",
        ),
        (
            pg("query", json!([target, "SELECT nextval('issue_id_seq')", { "database": "gitea" }])),
            ErrorKind::Denied,
            "only reads",
        ),
        (pg("query", json!([target, "SELECT 1 FROM nothing", {}])), ErrorKind::NotFound, "nothing"),
        (pg("restore", json!([target, "none.dump", { "database": "x" }])), ErrorKind::NotFound, "none.dump"),
        (pg("ping", json!([{ "user": "postgres" }, {}])), ErrorKind::Invalid, "which server"),
    ];
    for (done, kind, text) in cases {
        let error = done.unwrap_err();
        let told = format!("{} {}", error.message, error.hint.clone().unwrap_or_default());
        assert!(
            error.kind == kind && told.contains(text) && !told.contains("not-it"),
            "{kind:?} {text}: {error:?}"
        );
    }
    assert!(!world.path("dumps").join("gita.dump").exists());
    let away = pg("ping", json!([{ "host": "127.0.0.1", "port": 1 }, {}])).unwrap();
    assert!(away["ready"] == false && away["reason"].as_str().unwrap().contains("refused"), "{away}");
    // Names of databases are data, wherever they go.
    let _ = server.sql("postgres", "CREATE DATABASE \"od\"\"d; name\"");
    let odd = pg("dump", json!([target, { "database": "od\"d; name", "to": "odd.dump" }])).unwrap();
    assert_eq!(odd, world.path("odd.dump").to_str().unwrap());
    let _ = pg("restore", json!([target, "odd.dump", { "database": "an\"other" }])).unwrap();
}

#[test]
fn how_far_a_standby_of_postgres_is_and_what_extends_it_is_told() {
    let Some(primary) = server() else { return };
    let standby = primary.standby().unwrap();
    let world = World::new();
    let of = |server: &Postgres| json!({ "host": "127.0.0.1", "port": server.port(), "password": PASSWORD });
    let pg = |name: &str, args: Json| world.call(&format!("databases::postgres::{name}"), args).unwrap();
    let replication = |server: &Postgres| pg("replication", json!([of(server)]));
    filled(&primary);
    let told = until("it has followed", || {
        let told = replication(&primary);
        (told["standbys"][0]["state"] == "streaming" && told["standbys"][0]["lag_bytes"] == 0).then_some(told)
    });
    assert_eq!((&told["standby"], &told["standbys"][0]["name"]), (&json!(false), &json!("standby")));
    assert!(told["lag_seconds"].is_null(), "{told}");
    let followed = replication(&standby);
    assert_eq!((&followed["standby"], &followed["standbys"]), (&json!(true), &json!([])));
    assert!((0.0..60.0).contains(&followed["lag_seconds"].as_f64().unwrap()), "{followed}");
    // It holds still: the primary goes on.
    let _ = standby.sql("postgres", "SELECT pg_wal_replay_pause()");
    let _ = primary.sql("gitea", "CREATE TABLE late AS SELECT generate_series(1, 10000)");
    until("it is behind", || {
        (replication(&primary)["standbys"][0]["lag_bytes"].as_i64()? > 100_000).then_some(())
    });
    assert!(replication(&standby)["lag_seconds"].as_f64() > followed["lag_seconds"].as_f64());

    let extension = || {
        let all = pg("extensions", json!([of(&primary), { "database": "gitea" }]));
        all.as_array().unwrap().iter().find(|it| it["name"] == "plpgsql").unwrap().clone()
    };
    assert_eq!(extension()["installed"], extension()["available"]);
    let _ = primary.sql("gitea", "DROP EXTENSION plpgsql");
    assert_eq!((&extension()["installed"], &extension()["available"]), (&Json::Null, &json!("1.0")));
}

/// Looks until there is something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("not seen: {what}");
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawned(program: &str, args: &[&str]) -> Server {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    Server(command.spawn().unwrap())
}

/// A server whose programs are there, and that is ready.
fn begun(world: &World, program: &str, args: &[&str], ping: (&str, Json)) -> Option<Server> {
    let there = Command::new(program).arg("--version").output().is_ok();
    hob_lab::started(program, (!there).then(|| program.to_owned()), || Ok(()))?;
    let server = spawned(program, args);
    until(&format!("{program} gets ready"), || {
        world.call(ping.0, json!([ping.1])).is_ok_and(|it| it["ready"] == true).then_some(())
    });
    Some(server)
}

#[test]
fn a_redis_that_loads_is_not_ready_and_a_replica_tells_when_it_last_heard() {
    let world = World::new();
    let target = |name: &str| json!({ "host": world.path(name).join("socket") });
    let ping = |name: &str| world.call("databases::redis::ping", json!([target(name)])).unwrap();
    let args = |name: &str, more: &[&str]| -> Vec<String> {
        let dir = world.path(name);
        std::fs::create_dir_all(&dir).unwrap();
        let (dir, socket) = (dir.to_str().unwrap(), format!("{}/socket", dir.display()));
        let own = ["--dir", dir, "--unixsocket", &socket, "--save", ""];
        own.iter().chain(more).map(|it| (*it).to_owned()).collect()
    };
    let start = |name: &str, more: &[&str]| {
        let args = args(name, more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        begun(&world, "redis-server", &args, ("databases::redis::ping", target(name)))
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let Some(_primary) = start("primary", &["--port", &port, "--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let primary = ping("primary");
    assert_eq!((&primary["role"], &primary["lag_seconds"]), (&json!("master"), &Json::Null));
    let _replica = start("replica", &["--port", "0", "--replicaof", "127.0.0.1", &port]).unwrap();
    let told =
        until("it follows", || Some(ping("replica")).filter(|it| it["lag_seconds"].as_i64() >= Some(0)));
    assert!(told["role"] == "slave" && told["lag_seconds"].as_i64() < Some(60), "{told}");

    // It says that it loads as long as it does: each key takes its time.
    let cli = |args: &[&str]| {
        let done = Command::new("redis-cli").arg("-s").arg(world.path("primary/socket")).args(args).output();
        assert!(done.unwrap().status.success());
    };
    cli(&["EVAL", "for n = 1, 200 do redis.call('SET', 'key:' .. n, n) end", "0"]);
    cli(&["SAVE"]);
    let slow = ["--port", "0", "--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"];
    let slow = args("late", &slow);
    std::fs::copy(world.path("primary/dump.rdb"), world.path("late/dump.rdb")).unwrap();
    let _late = spawned("redis-server", &slow.iter().map(String::as_str).collect::<Vec<_>>());
    let told = until("it loads", || {
        let told = ping("late");
        told["reason"].as_str().is_some_and(|it| it.contains("still loads")).then_some(told)
    });
    assert_eq!(told["ready"], false, "{told}");
    until("it has loaded", || (ping("late")["ready"] == true).then_some(()));
}

#[test]
fn redis_is_dumped_as_of_one_moment() {
    let world = World::new();
    let socket = world.path("socket");
    let target = json!({ "host": socket, "password": "canary-redis" });
    let (dir, path) = (world.0.path().to_str().unwrap(), socket.to_str().unwrap());
    let args =
        ["--port", "0", "--unixsocket", path, "--requirepass", "canary-redis", "--dir", dir, "--save", ""];
    let start = || begun(&world, "redis-server", &args, ("databases::redis::ping", target.clone()));
    let Some(server) = start() else { return };
    let cli = |args: &[&str]| {
        let done = Command::new("redis-cli")
            .env("REDISCLI_AUTH", "canary-redis")
            .arg("-s")
            .arg(&socket)
            .args(args)
            .output();
        let done = done.unwrap();
        assert!(done.status.success());
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    let _ =
        cli(&["EVAL", "for n = 1, 20000 do redis.call('SET', 'key:' .. n, string.rep('v', 100)) end", "0"]);
    assert_eq!(world.call("databases::redis::ping", json!([target])).unwrap()["role"], "master");
    let dump = world.call("databases::redis::dump", json!([target, { "to": "out/all.rdb" }])).unwrap();
    let checked = Command::new("redis-check-rdb").arg(dump.as_str().unwrap()).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && told.contains("20000 keys read"), "{told}");
    // A wrong password leaves the dump that was there.
    let wrong = json!({ "host": socket, "password": "not-it" });
    let refused = world.call("databases::redis::dump", json!([wrong, { "to": "out/all.rdb" }])).unwrap_err();
    assert!(!format!("{refused:?}").contains("not-it"));
    assert_eq!(world.call("databases::redis::ping", json!([wrong])).unwrap_err().kind, ErrorKind::Denied);
    assert!(std::fs::read(dump.as_str().unwrap()).unwrap().starts_with(b"REDIS"));
    let away = world.call("databases::redis::ping", json!([{ "host": world.path("none") }])).unwrap();
    assert_eq!(away["ready"], false, "{away}");

    // And back: not where it would not be read, and what is there is kept.
    let restore = |target: &Json, path: &Json| world.call("databases::redis::restore", json!([target, path]));
    std::fs::write(world.path("note"), "no dump").unwrap();
    let cases = [
        (restore(&target, &json!("note")), ErrorKind::Invalid, "no snapshot of Redis"),
        (restore(&json!({ "host": "10.9.9.9" }), &dump), ErrorKind::Invalid, "runs elsewhere"),
    ];
    let _ = cli(&["CONFIG", "SET", "appendonly", "yes"]);
    let kept = (restore(&target, &dump), ErrorKind::Conflict, "append-only");
    let _ = cli(&["CONFIG", "SET", "appendonly", "no"]);
    for (done, kind, text) in cases.into_iter().chain([kept]) {
        let error = done.unwrap_err();
        assert!(error.kind == kind && error.message.contains(text), "{text}: {error:?}");
    }
    let _ = cli(&["FLUSHALL"]);
    let _ = cli(&["SET", "mistake", "1"]);
    let done = restore(&target, &dump).unwrap();
    assert_eq!(done["file"], world.path("dump.rdb").to_str().unwrap());
    assert!(std::fs::read(done["before"].as_str().unwrap()).unwrap().windows(7).any(|it| it == b"mistake"));
    drop(server);
    let _server = start().unwrap();
    assert_eq!((cli(&["DBSIZE"]).as_str(), cli(&["EXISTS", "mistake"]).as_str()), ("20000", "0"));
}

#[test]
fn mariadb_is_dumped_and_restored() {
    let world = World::new();
    let socket = world.path("socket");
    let (data, path) =
        (format!("--datadir={}", world.path("data").display()), format!("--socket={}", socket.display()));
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--user=root", "--skip-test-db", &data])
        .output();
    let is_made = made.is_ok_and(|it| it.status.success());
    if hob_lab::started("MariaDB", (!is_made).then(|| "mariadb-server".to_owned()), || Ok(())).is_none() {
        return;
    }
    let target = json!({ "host": socket });
    let args = [
        "--no-defaults",
        "--user=root",
        "--skip-networking",
        "--innodb-flush-log-at-trx-commit=0",
        &data,
        &path,
    ];
    let Some(_server) = begun(&world, "mariadbd", &args, ("databases::mariadb::ping", target.clone())) else {
        return;
    };
    let sql = |text: &str| {
        let done = Command::new("mariadb").args(["--no-defaults", "-N", &path, "-e", text]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    let _ = sql(
        "CREATE DATABASE cloud; USE cloud; CREATE TABLE files (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB; \
                 INSERT INTO files SELECT seq, CONCAT('file ', seq) FROM seq_0_to_4999",
    );
    let dump = world.call("databases::mariadb::dump", json!([target, { "database": "cloud" }])).unwrap();
    let restored =
        world.call("databases::mariadb::restore", json!([target, dump, { "database": "again" }])).unwrap();
    assert_eq!(restored["tables"], 1, "{restored}");
    assert_eq!(sql("SELECT COUNT(*), MAX(name) FROM again.files"), "5000\tfile 999");
    let missing =
        world.call("databases::mariadb::dump", json!([target, { "database": "clod" }])).unwrap_err();
    assert!(missing.kind == ErrorKind::NotFound && missing.message.contains("clod"), "{missing:?}");
    let refused = json!({ "host": socket, "user": "nobody", "password": "not-it" });
    assert_eq!(world.call("databases::mariadb::ping", json!([refused])).unwrap_err().kind, ErrorKind::Denied);
}

#[test]
fn sqlite_is_copied_while_it_is_written_to() {
    let world = World::new();
    let path = world.path("app.db");
    let open = rusqlite::Connection::open(&path).unwrap();
    open.pragma_update(None, "journal_mode", "WAL").unwrap();
    open.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    open.execute_batch("CREATE TABLE a (n); CREATE TABLE b (n);").unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, at) = (Arc::clone(&stop), path.clone());
    let writer = std::thread::spawn(move || {
        let open = rusqlite::Connection::open(at).unwrap();
        let mut n = 0;
        while !told.load(std::sync::atomic::Ordering::SeqCst) {
            // Both or none: a copy of one moment has as many of the one as of the other.
            open.execute_batch(&format!(
                "BEGIN; INSERT INTO a VALUES ({n}); INSERT INTO b VALUES ({n}); COMMIT;"
            ))
            .unwrap();
            n += 1;
        }
        n
    });
    let mut last = 0;
    for round in 0..20 {
        let copy = format!("copies/{round}.db");
        let made = world.call("databases::sqlite::backup", json!(["app.db", copy])).unwrap();
        assert_eq!(made, world.path(&copy).to_str().unwrap());
        let copied = rusqlite::Connection::open(world.path(&copy)).unwrap();
        let count = |table: &str| {
            copied
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(count("a"), count("b"));
        assert!(count("a") >= last);
        last = count("a");
        assert_eq!(world.call("databases::sqlite::check", json!([copy])).unwrap(), true);
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(writer.join().unwrap() > 0);
    // What is in the log alone is in the copy.
    drop(open);

    std::fs::write(
        world.path("text.db"),
        "no database at all, but long enough to look at it as one".repeat(100),
    )
    .unwrap();
    let no = world.call("databases::sqlite::backup", json!(["text.db", "copies/0.db"])).unwrap_err();
    assert_eq!(no.kind, ErrorKind::Invalid, "{no:?}");
    assert_eq!(
        world.call("databases::sqlite::check", json!(["copies/0.db"])).unwrap(),
        true,
        "it stays as it was"
    );
    assert_eq!(
        world.call("databases::sqlite::check", json!(["none.db"])).unwrap_err().kind,
        ErrorKind::NotFound
    );
    // Damage in the middle is found before the copy takes its place.
    let mut bytes = std::fs::read(world.path("copies/19.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0x5a);
    std::fs::write(world.path("bad.db"), bytes).unwrap();
    let bad = world.call("databases::sqlite::backup", json!(["bad.db", "copies/0.db"])).unwrap_err();
    assert!(bad.message.contains("damaged") || bad.message.contains("malformed"), "{bad:?}");
}
