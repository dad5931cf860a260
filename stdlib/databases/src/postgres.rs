//! The operations on PostgreSQL.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// PostgreSQL: dumps, restores that prove themselves, and looking.
///
/// A server is a map: `#{ service: "postgres" }` is a service of the homelab, `#{ container: "postgres" }` a container, and
/// `#{ host: "db.lan", port: 5432, user: "backup", password: secrets::get("pg") }` a server anywhere. The programs of
/// PostgreSQL run inside the container, or on this machine, which needs them then. `user` is `postgres` unless given.
#[primitive(name = "databases::postgres")]
mod operations {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use hob_model::{ErrorKind, OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText, Probe};

    use crate::file;
    use crate::pg::{CUSTOM, MAINTENANCE, Server};
    use crate::target::Target;

    /// For operations that look at one database.
    #[derive(Debug, Options)]
    struct InOptions {
        /// The database.
        #[option(default = "String::from(MAINTENANCE)")]
        database: String,
    }

    /// Tells whether a server answers: `ready`, `version`, and `reason` where it does not.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `denied` for a wrong password, and `not_found` where the programs of PostgreSQL are missing.
    ///
    /// ```rhai,no_run
    /// databases::postgres::ping(#{ service: "postgres" }).ready
    /// ```
    #[operation(observe, permission = "databases.postgres.ping", timeout = "1m", returns = "map")]
    fn ping(cx: &Ctx, target: Target, options: InOptions) -> Result<Value, OpError> {
        let sql = "SELECT to_json(current_setting('server_version'))".to_owned();
        let (ready, version, reason) = match Server::new(cx, target)?.ask(&options.database, sql) {
            Ok(version) => (true, version, Value::Unit),
            Err(error) if error.kind == ErrorKind::Unavailable => {
                (false, Value::Unit, Value::from(error.message))
            }
            Err(error) => return Err(error),
        };
        Ok(Value::map([("ready", Value::Bool(ready)), ("version", version), ("reason", reason)]))
    }

    /// Asks a database, and gives the rows as an array of maps.
    ///
    /// The session only reads: what would change something is refused by the server. `sql` is one query without `;`.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails with `not_found` when there is no such database, `denied` for a wrong password or a query that writes.
    ///
    /// ```rhai,no_run
    /// databases::postgres::query(#{ service: "postgres" }, "SELECT count(*) AS users FROM users", #{ database: "gitea" })[0].users
    /// ```
    #[operation(observe, permission = "databases.postgres.query", timeout = "5m", returns = "array of maps")]
    fn query(cx: &Ctx, target: Target, sql: String, options: InOptions) -> Result<Value, OpError> {
        let sql = sql.trim().trim_end_matches(';');
        let sql = format!("SELECT coalesce(json_agg(it), '[]') FROM (\n{sql}\n) AS it");
        Server::new(cx, target)?.ask(&options.database, sql)
    }

    /// Lists the databases of a server: `name`, `owner` and `bytes`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// databases::postgres::list(#{ service: "postgres" }).map(|it| it.name)
    /// ```
    #[operation(observe, permission = "databases.postgres.list", timeout = "1m", returns = "array of maps")]
    fn list(cx: &Ctx, target: Target) -> Result<Value, OpError> {
        let sql = "SELECT coalesce(json_agg(json_build_object('name', datname, 'owner', pg_get_userbyid(datdba), \
                   'bytes', pg_database_size(oid)) ORDER BY datname), '[]') \
                   FROM pg_database WHERE NOT datistemplate AND datallowconn";
        Server::new(cx, target)?.ask(MAINTENANCE, sql.to_owned())
    }

    /// Tells how far replication is.
    ///
    /// It gives `standby`, `lag_seconds` (how long ago the last change was that a standby has; `()` on a primary), and
    /// `standbys` with `name`, `state` and `lag_bytes` of each that follows this server.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// databases::postgres::replication(#{ service: "postgres" }).standbys.all(|it| it.lag_bytes < 16777216)
    /// ```
    #[operation(observe, permission = "databases.postgres.replication", timeout = "1m", returns = "map")]
    fn replication(cx: &Ctx, target: Target) -> Result<Value, OpError> {
        let sql = "SELECT json_build_object('standby', pg_is_in_recovery(), \
                   'lag_seconds', CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END, \
                   'standbys', (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state, \
                   'lag_bytes', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                   ELSE pg_current_wal_lsn() END, replay_lsn))), '[]') FROM pg_stat_replication))";
        Server::new(cx, target)?.ask(MAINTENANCE, sql.to_owned())
    }

    /// Lists what extends a database: `name`, `installed` (its version, or `()`) and `available`.
    ///
    /// An extension whose `installed` is older than what is `available` waits for `ALTER EXTENSION … UPDATE`; one that a dump
    /// needs and that is not `available` keeps the dump from being restored there.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// databases::postgres::extensions(#{ service: "postgres" }, #{ database: "immich" }).some(|it| it.name == "vectors")
    /// ```
    #[operation(
        observe,
        permission = "databases.postgres.extensions",
        timeout = "1m",
        returns = "array of maps"
    )]
    fn extensions(cx: &Ctx, target: Target, options: InOptions) -> Result<Value, OpError> {
        let sql = "SELECT coalesce(json_agg(json_build_object('name', name, 'installed', installed_version, \
                   'available', default_version) ORDER BY name), '[]') FROM pg_available_extensions";
        Server::new(cx, target)?.ask(&options.database, sql.to_owned())
    }

    /// Options of `databases::postgres::dump`.
    #[derive(Debug, Options)]
    struct DumpOptions {
        /// The one database that is dumped.
        database: Option<String>,
        /// Where the dump comes to lie.
        to: Option<PathText>,
    }

    /// Dumps a database to a file, or all databases of a server to a directory, and gives its path.
    ///
    /// A database becomes `NAME.dump` in PostgreSQL's custom format; with all of them comes `globals.sql` with roles and
    /// tablespaces. Without `to` they come to lie in `dumps/SERVER`. Only the user of hob may read them.
    ///
    /// A dump that shall never be on a disk is a stream: [`stream`].
    ///
    /// Class `ensure`: it is dumped again. Each file takes its place as a whole, over what was there.
    ///
    /// Fails with `denied` for a wrong password, `not_found` when there is no such database or program, `unavailable` when the
    /// server does not answer or the disk is full, and `conflict` when the programs are older than the server.
    ///
    /// ```rhai,no_run
    /// let dump = databases::postgres::dump(#{ service: "postgres" });
    /// backup::snapshot("nas", [dump], #{ tags: ["postgres"] });
    /// ```
    #[operation(ensure, permission = "databases.postgres.dump", timeout = "6h", returns = "string", model = model_dump)]
    fn dump(cx: &Ctx, target: Target, options: DumpOptions) -> Result<Value, OpError> {
        let to = place(cx, &target, &options)?;
        let server = Server::new(cx, target)?;
        match &options.database {
            Some(database) => server.client.write(&Server::dump(Some(database), true), &to, CUSTOM)?,
            None => {
                for database in server.databases()? {
                    let name = format!("{}.dump", database.replace('/', "_"));
                    server.client.write(&Server::dump(Some(&database), true), &to.join(name), CUSTOM)?;
                }
                server.client.write(&Server::dump(None, true), &to.join("globals.sql"), b"")?;
            }
        }
        Ok(Value::from(to.to_string_lossy().into_owned()))
    }

    fn model_dump(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let target: Target = args.next("target")?;
        Ok(Value::from(place(cx, &target, &args.options()?)?.to_string_lossy().into_owned()))
    }

    /// Where a dump comes to lie.
    fn place(cx: &Ctx, target: &Target, options: &DumpOptions) -> Result<PathBuf, OpError> {
        let to = match (&options.to, &options.database) {
            (Some(PathText(to)), _) => cx.resolve(to),
            (None, None) => cx.resolve(&format!("dumps/{}", target.file_name())),
            (None, Some(name)) => {
                cx.resolve(&format!("dumps/{}/{}.dump", target.file_name(), name.replace('/', "_")))
            }
        };
        cx.permit(&format!("files.write:{}", to.display()))?;
        Ok(to)
    }

    /// Options of `databases::postgres::stream`.
    #[derive(Debug, Options)]
    struct StreamOptions {
        /// The database; without one, what belongs to all of them: roles and tablespaces.
        database: Option<String>,
    }

    /// Describes a dump that `backup::stream` reads, so that it is never on a disk.
    ///
    /// It is not compressed: the repository does that, and finds again what did not change since the last dump.
    ///
    /// Class `observe`: it starts nothing, and looks where the service runs. Passwords in it stay names.
    ///
    /// ```rhai,no_run
    /// let dump = databases::postgres::stream(#{ service: "postgres" }, #{ database: "gitea" });
    /// backup::stream("nas", "gitea.dump", dump, #{ tags: ["postgres"] });
    /// ```
    #[operation(observe, permission = "databases.postgres.dump", returns = "map")]
    fn stream(cx: &Ctx, target: Target, options: StreamOptions) -> Result<Value, OpError> {
        Ok(Server::new(cx, target)?.described(&Server::dump(options.database.as_deref(), false)))
    }

    /// Options of `databases::postgres::restore`.
    #[derive(Debug, Options)]
    struct RestoreOptions {
        /// The database that is filled; without one, `path` has roles and tablespaces.
        database: Option<String>,
        /// Whether what the dump has replaces what the database has. Otherwise the database must be empty, or not there.
        #[option(default = "false")]
        clean: bool,
    }

    /// Restores a dump into a database, which it makes where it is missing.
    ///
    /// `path` is a dump in PostgreSQL's custom format, or SQL. The database gets all of it, or stays as it was. It gives
    /// `database`, `tables`, `rows` and `counts`, which has the number of rows of each table.
    ///
    /// Class `keyed`: the intent notes that the database was empty; after a crash one that is not has the dump. With `clean`
    /// and for roles it is restored again.
    ///
    /// Fails with `conflict` when the database is not empty, without `clean`; `not_found` when there is no such file; and as
    /// [`dump`].
    ///
    /// ```rhai,no_run
    /// databases::postgres::restore(#{ service: "postgres" }, "dumps/postgres/gitea.dump", #{ database: "gitea" }).rows
    /// ```
    #[operation(keyed, permission = "databases.postgres.restore files.read:{path}", timeout = "6h", returns = "map",
        intent = note_restore, probe = probe_restore, model = model_restore)]
    fn restore(cx: &Ctx, target: Target, path: PathText, options: RestoreOptions) -> Result<Value, OpError> {
        let (server, path) = (Server::new(cx, target)?, cx.resolve(&path.0));
        let Some(database) = &options.database else {
            server.fill_globals(&path)?;
            return Ok(Value::map([
                ("database", Value::Unit),
                ("tables", Value::from(0)),
                ("rows", Value::from(0)),
            ]));
        };
        file::open(&path)?;
        match server.holds(database)? {
            None => server.create(database)?,
            Some(true) if !options.clean => return Err(occupied(database)),
            Some(_) => {}
        }
        server.fill(database, &path, options.clean)?;
        server.counts(database)
    }

    fn occupied(database: &str) -> OpError {
        OpError::conflict(format!("the database {database} is not empty"))
            .hint("`clean: true` replaces what the dump has; or restore into another `database`")
            .nothing_happened()
    }

    fn read(cx: &Ctx, args: &mut Args) -> Result<(Server, RestoreOptions), OpError> {
        let (target, _): (Target, PathText) = (args.next("target")?, args.next("path")?);
        Ok((Server::new(cx, target)?, args.options()?))
    }

    fn note_restore(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (server, options) = read(cx, &mut args)?;
        let Some(database) = options.database.as_ref().filter(|_| !options.clean) else {
            return Ok(Value::Unit);
        };
        match server.holds(database)? {
            Some(true) => Err(occupied(database)),
            _ => Ok(Value::from("empty")),
        }
    }

    fn probe_restore(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let (server, options) = read(cx, &mut args)?;
        let Some(database) = options.database.filter(|_| *cx.noted() == Value::from("empty")) else {
            return Ok(Probe::NotDone);
        };
        // It was filled by one transaction.
        let is_filled = server.holds(&database)? == Some(true);
        Ok(if is_filled { Probe::Done(server.counts(&database)?) } else { Probe::NotDone })
    }

    fn model_restore(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (server, options) = read(cx, &mut args)?;
        let database = options.database.unwrap_or_default();
        if !options.clean && !database.is_empty() && server.holds(&database)? == Some(true) {
            return Err(occupied(&database));
        }
        Ok(Value::map([
            ("database", Value::from(database)),
            ("tables", Value::from(0)),
            ("rows", Value::from(0)),
        ]))
    }

    /// Options of `databases::postgres::verify`.
    #[derive(Debug, Options)]
    struct VerifyOptions {
        /// How many rows tables must have at least: `#{ "public.users": 1 }`.
        rows: Option<BTreeMap<String, i64>>,
    }

    /// Proves a dump: restores it into a scratch database, counts the rows of each table, and removes it.
    ///
    /// It gives `tables`, `rows` and `counts`. `target` is best a server that holds nothing dear; any has room for one more
    /// database.
    ///
    /// Class `ensure`: what a crash left is removed, and it is tried again.
    ///
    /// Fails with `failed` when it cannot be restored or a table has fewer rows than `rows` says; and as [`restore`].
    ///
    /// ```rhai,no_run
    /// databases::postgres::verify(#{ service: "postgres" }, "gitea.dump", #{ rows: #{ "public.user": 1 } }).tables
    /// ```
    #[operation(ensure, permission = "databases.postgres.verify files.read:{path}", timeout = "6h", returns = "map",
        model = model_verify)]
    fn verify(cx: &Ctx, target: Target, path: PathText, options: VerifyOptions) -> Result<Value, OpError> {
        let (server, path) = (Server::new(cx, target)?, cx.resolve(&path.0));
        file::open(&path)?;
        let scratch = server.scratch();
        server.drop_database(&scratch)?;
        server.create(&scratch)?;
        let proved = server.fill(&scratch, &path, false).and_then(|()| server.counts(&scratch));
        let gone = server.drop_database(&scratch);
        let proved = proved?;
        gone?;
        for (table, least) in options.rows.iter().flatten() {
            let found = proved.get("counts").and_then(|counts| counts.get(table)).and_then(Value::as_int);
            if found.is_none_or(|found| found < *least) {
                let found = found.map_or_else(|| "is missing".to_owned(), |rows| format!("has {rows} rows"));
                return Err(OpError::failed(format!(
                    "{}: table {table} {found}, fewer than {least}",
                    path.display()
                ))
                .hint("the dump lacks data: look at what was dumped, and when"));
            }
        }
        Ok(proved)
    }

    fn model_verify(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::map([
            ("tables", Value::from(0)),
            ("rows", Value::from(0)),
            ("counts", Value::Map(BTreeMap::new())),
        ]))
    }
}
