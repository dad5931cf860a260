//! The operations on MariaDB and MySQL.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// MariaDB and MySQL: dumps, restores, and looking.
///
/// A server is a map as `databases::postgres` takes it; `user` is `root` unless given. The programs are those of MariaDB, which
/// speak to MySQL, too.
#[primitive(name = "databases::mariadb")]
mod operations {
    use std::path::PathBuf;

    use hob_model::{ErrorKind, OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText};

    use crate::client::{Call, Client, plain};
    use crate::file;
    use crate::target::Target;

    /// The user unless another is given, of the database and of the system.
    const USER: &str = "root";

    /// How a dump begins: a comment.
    const SQL: &[u8] = b"/*";

    fn client(cx: &Ctx, target: &Target) -> Result<Client, OpError> {
        let mut connection = vec!["--no-defaults".to_owned()];
        match &target.host {
            Some(path) if path.starts_with('/') => connection.push(format!("--socket={path}")),
            Some(host) => connection.push(format!("--host={host}")),
            None => {}
        }
        connection.extend(target.port.map(|port| format!("--port={port}")));
        connection.push(format!("--user={}", target.user.as_deref().unwrap_or(USER)));
        let mut env = vec![plain("LC_ALL", "C")];
        env.extend(target.password.clone().map(|password| ("MYSQL_PWD".to_owned(), password)));
        let room = target.room(cx)?;
        let run_as = target.run_as(&room, USER);
        Ok(Client { cx: cx.clone(), name: target.told(), room, run_as, env, connection })
    }

    /// A dump as of one moment, of a database or of all of them.
    fn dump_of(database: Option<&str>) -> Call {
        let options =
            ["--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"];
        let what = database.map_or_else(|| "--all-databases".to_owned(), str::to_owned);
        Call::new("mariadb-dump", options.into_iter().map(str::to_owned).chain([what]))
    }

    fn sql(database: Option<&str>, text: &str) -> Call {
        let mut args = vec!["--batch".to_owned(), "--skip-column-names".to_owned()];
        args.extend(database.map(|it| format!("--database={it}")));
        args.push(format!("--execute={text}"));
        Call::new("mariadb", args)
    }

    fn quoted(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    /// Tells whether a server answers: `ready`, `version`, and `reason` where it does not.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `denied` for a wrong password, and `not_found` where the program `mariadb` is missing.
    ///
    /// ```rhai,no_run
    /// databases::mariadb::ping(#{ service: "mariadb", password: secrets::get("mariadb") }).ready
    /// ```
    #[operation(observe, permission = "databases.mariadb.ping", timeout = "1m", returns = "map")]
    fn ping(cx: &Ctx, target: Target) -> Result<Value, OpError> {
        let (ready, version, reason) = match client(cx, &target)?.answer(&sql(None, "SELECT VERSION()")) {
            Ok(version) => (true, Value::from(version.trim()), Value::Unit),
            Err(error) if error.kind == ErrorKind::Unavailable => {
                (false, Value::Unit, Value::from(error.message))
            }
            Err(error) => return Err(error),
        };
        Ok(Value::map([("ready", Value::Bool(ready)), ("version", version), ("reason", reason)]))
    }

    /// Options of `databases::mariadb::dump`.
    #[derive(Debug, Options)]
    struct DumpOptions {
        /// The one database that is dumped; all of them, with their users, unless it is given.
        database: Option<String>,
        /// Where the dump comes to lie.
        to: Option<PathText>,
    }

    /// Dumps a database, or all of them, as of one moment to a file of SQL, and gives its path.
    ///
    /// Tables of InnoDB are dumped without a lock. Without `to` it comes to lie in `dumps/SERVER`. Only the user of hob may
    /// read it.
    ///
    /// Class `ensure`: it is dumped again, and takes its place as a whole, over what was there.
    ///
    /// Fails with `denied` for a wrong password, `not_found` when there is no such database or program, and `unavailable` when
    /// the server does not answer or the disk is full.
    ///
    /// ```rhai,no_run
    /// let dump = databases::mariadb::dump(#{ service: "mariadb", password: secrets::get("mariadb") }, #{ database: "nextcloud" });
    /// backup::snapshot("nas", [dump]);
    /// ```
    #[operation(ensure, permission = "databases.mariadb.dump", timeout = "6h", returns = "string", model = model_dump)]
    fn dump(cx: &Ctx, target: Target, options: DumpOptions) -> Result<Value, OpError> {
        let to = place(cx, &target, &options)?;
        client(cx, &target)?.write(&dump_of(options.database.as_deref()), &to, b"")?;
        Ok(Value::from(to.to_string_lossy().into_owned()))
    }

    fn model_dump(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let target: Target = args.next("target")?;
        Ok(Value::from(place(cx, &target, &args.options()?)?.to_string_lossy().into_owned()))
    }

    fn place(cx: &Ctx, target: &Target, options: &DumpOptions) -> Result<PathBuf, OpError> {
        let name = options.database.as_deref().unwrap_or("all").replace('/', "_");
        let to = match &options.to {
            Some(PathText(to)) => cx.resolve(to),
            None => cx.resolve(&format!("dumps/{}/{name}.sql", target.file_name())),
        };
        cx.permit(&format!("files.write:{}", to.display()))?;
        Ok(to)
    }

    /// Options of `databases::mariadb::stream`.
    #[derive(Debug, Options)]
    struct StreamOptions {
        /// The one database that is dumped; all of them, with their users, unless it is given.
        database: Option<String>,
    }

    /// Describes a dump that `backup::stream` reads, so that it is never on a disk.
    ///
    /// Class `observe`: it starts nothing, and looks where the service runs. Passwords in it stay names.
    ///
    /// ```rhai,no_run
    /// let dump = databases::mariadb::stream(#{ service: "mariadb", password: secrets::get("mariadb") });
    /// backup::stream("nas", "mariadb.sql", dump, #{ tags: ["mariadb"] });
    /// ```
    #[operation(observe, permission = "databases.mariadb.dump", returns = "map")]
    fn stream(cx: &Ctx, target: Target, options: StreamOptions) -> Result<Value, OpError> {
        Ok(client(cx, &target)?.described(&dump_of(options.database.as_deref()), target.described()))
    }

    /// Options of `databases::mariadb::restore`.
    #[derive(Debug, Options)]
    struct RestoreOptions {
        /// The database that is filled, and made where it is missing; a dump of all databases names its own.
        database: Option<String>,
    }

    /// Restores a dump: its tables replace those of the same names. It gives `database` and `tables`.
    ///
    /// Class `ensure`: a dump drops each table before it makes it, so that it is restored again.
    ///
    /// Fails as [`dump`], and with `invalid` when `path` is no dump. A restore that fails midway leaves the tables before it
    /// restored: this server has no transaction around them.
    ///
    /// ```rhai,no_run
    /// databases::mariadb::restore(#{ service: "mariadb", password: secrets::get("mariadb") }, "nextcloud.sql", #{ database: "nextcloud" })
    /// ```
    #[operation(ensure, permission = "databases.mariadb.restore files.read:{path}", timeout = "6h", returns = "map",
        model = model_restore)]
    fn restore(cx: &Ctx, target: Target, path: PathText, options: RestoreOptions) -> Result<Value, OpError> {
        let (client, path) = (client(cx, &target)?, cx.resolve(&path.0));
        let (from, head) = file::open(&path)?;
        if !head.starts_with(SQL) && !head.starts_with(b"--") {
            return Err(OpError::invalid(format!("{} is no dump of MariaDB", path.display())));
        }
        let database = options.database.as_deref();
        if let Some(name) = database {
            client.answer(&sql(None, &format!("CREATE DATABASE IF NOT EXISTS {}", quoted(name))))?;
        }
        client.feed(&Call::new("mariadb", database.map(|it| format!("--database={it}"))), from)?;
        let count = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
        let tables = match database {
            Some(_) => {
                client.answer(&sql(database, count))?.trim().parse::<i64>().map_or(Value::Unit, Value::from)
            }
            None => Value::Unit,
        };
        Ok(Value::map([("database", options.database.map_or(Value::Unit, Value::from)), ("tables", tables)]))
    }

    fn model_restore(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (_, _): (Target, PathText) = (args.next("target")?, args.next("path")?);
        let options: RestoreOptions = args.options()?;
        let database = options.database.map_or(Value::Unit, Value::from);
        Ok(Value::map([("database", database), ("tables", Value::Unit)]))
    }
}
