//! What the operations of PostgreSQL share.

use std::path::Path;

use hob_model::{Digest, OpError, Value};
use hob_primitive::Ctx;

use crate::client::{Call, Client, plain};
use crate::file;
use crate::problem;
use crate::target::Target;

/// How long a server may take to accept a connection, in seconds.
const CONNECT_SECONDS: &str = "15";

/// The user unless another is given, of the database and of the system.
const USER: &str = "postgres";

/// The database that every server has.
pub(crate) const MAINTENANCE: &str = "postgres";

/// How a dump in PostgreSQL's own format begins.
pub(crate) const CUSTOM: &[u8] = b"PGDMP";

/// How the names of databases begin that a restore is tried in.
const SCRATCH: &str = "hob_verify_";

/// What is in a database that is no part of the server: tables, views and sequences.
const OBJECTS: &str = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'";

/// How many rows each table has. The server counts by queries that it writes itself.
const ROWS: &str = "SELECT coalesce(json_object_agg(name, rows ORDER BY name), '{}') FROM (\
    SELECT format('%I.%I', n.nspname, c.relname) AS name, (xpath('/row/c/text()', query_to_xml(\
    format('SELECT count(*) AS c FROM ONLY %I.%I', n.nspname, c.relname), false, true, '')))[1]::text::bigint AS rows \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema') AS tables";

/// A server of PostgreSQL.
pub(crate) struct Server {
    pub(crate) client: Client,
    target: Target,
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Server {
    pub(crate) fn new(cx: &Ctx, target: Target) -> Result<Self, OpError> {
        let room = target.room(cx)?;
        let run_as = target.run_as(&room, USER);
        let mut connection = Vec::new();
        if let Some(host) = &target.host {
            connection.extend(["-h".to_owned(), host.clone()]);
        }
        if let Some(port) = target.port {
            connection.extend(["-p".to_owned(), port.to_string()]);
        }
        let user = target.user.clone().unwrap_or_else(|| USER.to_owned());
        connection.extend(["-U".to_owned(), user, "-w".to_owned()]);
        // Its complaints are understood in English.
        let mut env = vec![plain("PGCONNECT_TIMEOUT", CONNECT_SECONDS), plain("LC_ALL", "C")];
        env.extend(target.password.clone().map(|password| ("PGPASSWORD".to_owned(), password)));
        let client = Client { cx: cx.clone(), name: target.told(), room, run_as, env, connection };
        Ok(Self { client, target })
    }

    fn psql(database: &str, sql: String) -> Call {
        // As one command it goes to the server as it is: psql looks for none of its own commands in it.
        let words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c"];
        Call::new("psql", words.into_iter().map(str::to_owned).chain([sql]))
    }

    /// Has the server do something.
    pub(crate) fn command(&self, database: &str, sql: String) -> Result<String, OpError> {
        Ok(self.client.answer(&Self::psql(database, sql))?.trim().to_owned())
    }

    /// A value that the server gives as JSON, in a session that only reads.
    pub(crate) fn ask(&self, database: &str, sql: String) -> Result<Value, OpError> {
        let mut call = Self::psql(database, sql);
        call.env.push(plain("PGOPTIONS", "-c default_transaction_read_only=on"));
        let text = self.client.answer(&call)?;
        let strange =
            |error: String| OpError::failed(format!("{} answers strangely: {error}", self.client.name));
        let json = serde_json::from_str(text.trim()).map_err(|error| strange(error.to_string()))?;
        Value::from_json(json).map_err(|error| strange(error.to_string()))
    }

    /// The databases of people, by name.
    pub(crate) fn databases(&self) -> Result<Vec<String>, OpError> {
        let sql = "SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database \
                   WHERE NOT datistemplate AND datallowconn";
        let found = self.ask(MAINTENANCE, sql.to_owned())?;
        let Value::Array(names) = found else { return Ok(Vec::new()) };
        Ok(names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
    }

    /// What dumps a database, or with none what belongs to all of them: roles and tablespaces.
    pub(crate) fn dump(database: Option<&str>, compress: bool) -> Call {
        let Some(database) = database else { return Call::new("pg_dumpall", ["--globals-only"]) };
        let mut args = vec!["--format=custom".to_owned()];
        // A repository compresses better, and finds again what did not change.
        args.extend((!compress).then(|| "--compress=0".to_owned()));
        args.extend(["-d".to_owned(), database.to_owned()]);
        Call::new("pg_dump", args)
    }

    /// A dump as `backup::stream` takes it.
    pub(crate) fn described(&self, call: &Call) -> Value {
        self.client.described(call, self.target.described())
    }

    /// Whether a database is there, and holds anything.
    pub(crate) fn holds(&self, database: &str) -> Result<Option<bool>, OpError> {
        if !self.databases()?.iter().any(|it| it == database) {
            return Ok(None);
        }
        Ok(Some(self.command(database, OBJECTS.to_owned())? != "0"))
    }

    pub(crate) fn create(&self, database: &str) -> Result<(), OpError> {
        // The template of people may hold things that a dump brings, too.
        self.command(MAINTENANCE, format!("CREATE DATABASE {} TEMPLATE template0", quoted(database)))
            .map(drop)
    }

    pub(crate) fn drop_database(&self, database: &str) -> Result<(), OpError> {
        self.command(MAINTENANCE, format!("DROP DATABASE IF EXISTS {}", quoted(database))).map(drop)
    }

    /// Fills a database from a dump: all of it, or nothing.
    pub(crate) fn fill(&self, database: &str, path: &Path, clean: bool) -> Result<(), OpError> {
        let (from, head) = file::open(path)?;
        if !head.starts_with(CUSTOM) {
            let words =
                ["-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d", database, "-f", "-"];
            return self.client.feed(&Call::new("psql", words), from);
        }
        let mut words = vec!["--exit-on-error", "--single-transaction", "-d", database];
        if clean {
            words.extend(["--clean", "--if-exists"]);
        }
        self.client.feed(&Call::new("pg_restore", words), from)
    }

    /// Makes roles and tablespaces; those that are there stay.
    pub(crate) fn fill_globals(&self, path: &Path) -> Result<(), OpError> {
        let (from, head) = file::open(path)?;
        if head.starts_with(CUSTOM) {
            return Err(OpError::invalid(format!("{} is the dump of a database", path.display()))
                .hint("say into which: `database: \"…\"`"));
        }
        let call = Call::new("psql", ["-X", "-q", "-d", MAINTENANCE, "-f", "-"]);
        let mut end = self.client.feed_anyway(&call, from)?;
        let refused = |line: &&str| line.contains("ERROR:") && !line.contains("already exists");
        if end.is_good() && end.complaint.lines().any(|line| refused(&line)) {
            end.code = Some(3);
        }
        if end.is_good() {
            Ok(())
        } else {
            Err(problem::of(&self.client.name, call.program, &self.client.room, &end))
        }
    }

    /// The tables of a database with their rows: `database`, `tables`, `rows` and `counts`.
    pub(crate) fn counts(&self, database: &str) -> Result<Value, OpError> {
        let counts = self.ask(database, ROWS.to_owned())?;
        let Value::Map(of) = &counts else { return Err(OpError::failed("no tables were told")) };
        let rows: i64 = of.values().filter_map(Value::as_int).sum();
        let tables = of.len();
        Ok(Value::map([
            ("database", Value::from(database)),
            ("tables", Value::from(tables as u64)),
            ("rows", Value::from(rows)),
            ("counts", counts),
        ]))
    }

    /// The database that this effect tries a restore in.
    pub(crate) fn scratch(&self) -> String {
        format!("{SCRATCH}{}", Digest::of(self.client.cx.key().as_bytes()).short()).to_lowercase()
    }
}
