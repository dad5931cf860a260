//! The operations on Redis.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Redis and Valkey: consistent snapshots, and looking.
///
/// A server is a map as `databases::postgres` takes it; `redis-cli` runs inside the container, or on this machine.
#[primitive(name = "databases::redis")]
mod operations {
    use std::path::PathBuf;
    use std::time::Duration;

    use hob_model::{ErrorKind, OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, Room};

    use crate::client::{Call, Client};
    use crate::file;
    use crate::target::Target;

    /// How often saving is tried again while another one is under way, and how long after.
    const SAVES_MAX: usize = 600;
    const SAVE_AGAIN: Duration = Duration::from_millis(100);

    /// How a snapshot of Redis begins.
    const RDB: &[u8] = b"REDIS";

    /// Puts what it reads in the place of a snapshot, which stays beside it, for the user whose directory it is.
    const PLACE: &str = r#"set -e; [ ! -e "$1" ] || cp -p "$1" "$1.before"; umask 077; cat > "$1.hob"
        chown "$(stat -c %u:%g "$(dirname "$1")")" "$1.hob" || true; mv -f "$1.hob" "$1""#;

    fn client(cx: &Ctx, target: &Target) -> Result<Client, OpError> {
        let mut connection = Vec::new();
        match (&target.host, target.port) {
            (Some(path), _) if path.starts_with('/') => connection.extend(["-s".to_owned(), path.clone()]),
            (Some(host), _) => connection.extend(["-h".to_owned(), host.clone()]),
            (None, _) => {}
        }
        if let Some(port) = target.port {
            connection.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &target.user {
            connection.extend(["--user".to_owned(), user.clone()]);
        }
        connection.extend(["--no-auth-warning".to_owned(), "-e".to_owned()]);
        let env = target.password.clone().map(|password| ("REDISCLI_AUTH".to_owned(), password));
        let (room, name) = (target.room(cx)?, target.told());
        // Whoever reaches its port needs no user of the system.
        let run_as = None;
        Ok(Client { cx: cx.clone(), name, room, run_as, env: env.into_iter().collect(), connection })
    }

    /// A snapshot of all, as a replica gets it.
    fn snapshot() -> Call {
        Call::new("redis-cli", ["--rdb", "-"])
    }

    /// Tells whether a server answers: `ready`, `version`, `role`, `lag_seconds` (since a replica last heard of its primary),
    /// and `reason` where it does not.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `denied` for a wrong password, and `not_found` where `redis-cli` is missing.
    ///
    /// ```rhai,no_run
    /// databases::redis::ping(#{ service: "redis" }).ready
    /// ```
    #[operation(observe, permission = "databases.redis.ping", timeout = "30s", returns = "map")]
    fn ping(cx: &Ctx, target: Target) -> Result<Value, OpError> {
        let told = match client(cx, &target)?.answer(&Call::new("redis-cli", ["INFO"])) {
            Ok(told) => told,
            Err(error) if error.kind == ErrorKind::Unavailable => {
                return Ok(Value::map([
                    ("ready", Value::Bool(false)),
                    ("reason", Value::from(error.message)),
                ]));
            }
            Err(error) => return Err(error),
        };
        let field = |name: &str| {
            told.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
        };
        let text = |name: &str| field(name).map_or(Value::Unit, Value::from);
        let is_loading = field("loading").as_deref() == Some("1");
        Ok(Value::map([
            ("ready", Value::Bool(!is_loading)),
            ("version", text("redis_version")),
            ("role", text("role")),
            (
                "lag_seconds",
                field("master_last_io_seconds_ago")
                    .and_then(|it| it.parse::<i64>().ok())
                    .map_or(Value::Unit, Value::from),
            ),
            ("reason", if is_loading { Value::from("it still loads its data") } else { Value::Unit }),
        ]))
    }

    /// Options of `databases::redis::dump`.
    #[derive(Debug, Options)]
    struct DumpOptions {
        /// Where the dump comes to lie.
        to: Option<PathText>,
    }

    /// Writes a snapshot of all that a server has, as of one moment, to a file, and gives its path.
    ///
    /// The server makes it as for a replica, in a process of its own, and goes on meanwhile. Without `to` it comes to lie at
    /// `dumps/SERVER.rdb`. Only the user of hob may read it.
    ///
    /// Class `ensure`: it is made again, and takes its place as a whole, over what was there.
    ///
    /// Fails with `denied` for a wrong password, `not_found` where `redis-cli` is missing, `unavailable` when the server does
    /// not answer or the disk is full.
    ///
    /// ```rhai,no_run
    /// backup::snapshot("nas", [databases::redis::dump(#{ service: "redis" })], #{ tags: ["redis"] });
    /// ```
    #[operation(ensure, permission = "databases.redis.dump", timeout = "1h", returns = "string", model = model_dump)]
    fn dump(cx: &Ctx, target: Target, options: DumpOptions) -> Result<Value, OpError> {
        let to = place(cx, &target, &options)?;
        client(cx, &target)?.write(&snapshot(), &to, RDB)?;
        Ok(Value::from(to.to_string_lossy().into_owned()))
    }

    fn model_dump(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let target: Target = args.next("target")?;
        Ok(Value::from(place(cx, &target, &args.options()?)?.to_string_lossy().into_owned()))
    }

    fn place(cx: &Ctx, target: &Target, options: &DumpOptions) -> Result<PathBuf, OpError> {
        let to = match &options.to {
            Some(PathText(to)) => cx.resolve(to),
            None => cx.resolve(&format!("dumps/{}.rdb", target.file_name())),
        };
        cx.permit(&format!("files.write:{}", to.display()))?;
        Ok(to)
    }

    /// Describes a snapshot that `backup::stream` reads, so that it is never on a disk.
    ///
    /// Class `observe`: it starts nothing, and looks where the service runs. Passwords in it stay names.
    ///
    /// ```rhai,no_run
    /// backup::stream("nas", "redis.rdb", databases::redis::stream(#{ service: "redis" }), #{ tags: ["redis"] });
    /// ```
    #[operation(observe, permission = "databases.redis.dump", returns = "map")]
    fn stream(cx: &Ctx, target: Target) -> Result<Value, OpError> {
        Ok(client(cx, &target)?.described(&snapshot(), target.described()))
    }

    /// Has a server take a snapshot in the place of all that it has: what it has is saved, the snapshot takes the place of that
    /// file, and the server **ends**, since it reads the file when it starts. Start it then.
    ///
    /// It gives `file` and `before`, which holds what the server had. It runs in the container of the server, or beside it on
    /// this machine.
    ///
    /// Class `ensure`: a snapshot that takes its own place changes nothing.
    ///
    /// Fails with `invalid` when `path` is no snapshot, or the server runs elsewhere; `conflict` when it keeps an append-only
    /// file, which it would read instead; and as [`dump`].
    ///
    /// ```rhai,no_run
    /// databases::redis::restore(#{ service: "redis" }, "dumps/redis.rdb");
    /// services::start("redis");
    /// ```
    #[operation(ensure, permission = "databases.redis.restore files.read:{path}", timeout = "1h", returns = "map",
        model = model_restore)]
    fn restore(cx: &Ctx, target: Target, path: PathText) -> Result<Value, OpError> {
        let (client, path) = (client(cx, &target)?, cx.resolve(&path.0));
        let (from, head) = file::open(&path)?;
        if !head.starts_with(RDB) {
            return Err(OpError::invalid(format!("{} is no snapshot of Redis", path.display())));
        }
        let is_near = target.host.as_deref().is_none_or(|it| {
            it.starts_with('/')
                || it == "localhost"
                || it.parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback())
        });
        if client.room == Room::Host && !is_near {
            let text = format!("{} runs elsewhere, and its files are not here", client.name);
            return Err(OpError::invalid(text).hint(
                "there: stop it, put the snapshot where its `dir` and `dbfilename` say, and start it",
            ));
        }
        let ask = |args: &[&str]| client.answer(&Call::new("redis-cli", args.iter().copied()));
        let setting = |name: &str| {
            let told = ask(&["CONFIG", "GET", name])?;
            let told = told.lines().nth(1).map(str::to_owned);
            told.ok_or_else(|| OpError::denied(format!("{} does not tell its `{name}`", client.name)))
        };
        if setting("appendonly")? == "yes" {
            let text = format!("{} keeps an append-only file, and reads that when it starts", client.name);
            return Err(OpError::conflict(text)
                .hint("have it start with `appendonly no`, restore, and then `CONFIG SET appendonly yes`"));
        }
        let file = format!("{}/{}", setting("dir")?, setting("dbfilename")?);
        // One that is under way in the background, as for a replica, ends by itself.
        let mut saved = ask(&["SAVE"]);
        for _ in 0..SAVES_MAX {
            match &saved {
                Err(error) if error.message.contains("save already in progress") => {}
                _ => break,
            }
            let _ = cx.cancel().wait_timeout(SAVE_AGAIN);
            saved = ask(&["SAVE"]);
        }
        saved?;
        // Or its end overwrites what comes now.
        ask(&["CONFIG", "SET", "save", ""])?;
        let (room, name) = (client.room.clone(), client.name.clone());
        let (run_as, env, connection) = (None, Vec::new(), Vec::new());
        let beside = Client { cx: cx.clone(), name, room, run_as, env, connection };
        beside.feed(&Call::new("sh", ["-c", PLACE, "sh", file.as_str()]), from)?;
        // Who ends does not answer.
        if let Err(error) = ask(&["SHUTDOWN", "NOSAVE"])
            && ask(&["PING"]).is_ok()
        {
            return Err(error);
        }
        Ok(Value::map([("before", Value::from(format!("{file}.before"))), ("file", Value::from(file))]))
    }

    fn model_restore(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (_, _): (Target, PathText) = (args.next("target")?, args.next("path")?);
        Ok(Value::map([("before", Value::Unit), ("file", Value::Unit)]))
    }
}
