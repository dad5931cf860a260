//! A server of PostgreSQL.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::listening::{ATTEMPTS, begin, end, free_port};
use crate::marker::Place;

/// The password of its user `postgres` over the network; over its socket the user of the system is who they are.
pub const PASSWORD: &str = "canary-pg-6f1b0c";

/// A PostgreSQL; it ends with this value, and with the thread that started it.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
    port: u16,
    child: Option<Child>,
}

/// Where Debian has the programs that it does not put in `PATH`.
///
/// # Errors
/// When there is none.
pub fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")?.flatten().map(|it| it.path().join("bin"));
    versions.filter(|it| it.join("initdb").exists()).max().ok_or_else(|| io::Error::other("no initdb"))
}

/// What is missing to start one.
#[must_use]
pub fn missing() -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    (programs().is_err() || !is_root)
        .then(|| "PostgreSQL (postgresql), and root to become its user".to_owned())
}

/// A command as the user `postgres`, that ends with the thread that starts it.
fn as_its_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=INT"]).arg(program);
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Postgres {
    /// An empty one.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Self::make)
    }

    /// One that follows this one, and calls itself `standby`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn standby(&self) -> io::Result<Self> {
        Self::start_with(|standby| {
            standby.own()?;
            let mut command = as_its_user(&programs()?.join("pg_basebackup"));
            command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-U", "postgres"]);
            command.arg("-h").arg(self.dir()).args(["-p", &self.port.to_string()]);
            command.arg("-D").arg(standby.dir().join("data"));
            if !command.status()?.success() {
                return Err(io::Error::other("pg_basebackup fails"));
            }
            let mut settings = std::fs::File::options()
                .append(true)
                .open(standby.dir().join("data/postgresql.auto.conf"))?;
            settings.write_all(b"cluster_name = 'standby'\n")
        })
    }

    fn start_with(make: impl Fn(&Self) -> io::Result<()>) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let place = Place::new("postgres", |_| {})?;
            let port = free_port()?;
            let mut server = Self { place, port, child: None };
            make(&server)?;
            let mut command = as_its_user(&programs()?.join("postgres"));
            command.arg("-D").arg(server.dir().join("data")).arg("-k").arg(server.dir());
            command.args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "fsync=off"]);
            server.child = begin(&mut command, port)?;
            if server.child.is_some() {
                return Ok(server);
            }
        }
        Err(io::Error::other("PostgreSQL does not come up"))
    }

    /// Gives its directory to its user.
    fn own(&self) -> io::Result<()> {
        let owned = Command::new("chown").arg("postgres:postgres").arg(self.dir()).status()?;
        if owned.success() { Ok(()) } else { Err(io::Error::other("chown fails")) }
    }

    fn make(&self) -> io::Result<()> {
        self.own()?;
        let mut file = std::fs::File::create(self.dir().join("password"))?;
        file.write_all(PASSWORD.as_bytes())?;
        let mut command = as_its_user(&programs()?.join("initdb"));
        command.arg("-D").arg(self.dir().join("data")).arg("--pwfile").arg(self.dir().join("password"));
        command.args([
            "--no-sync",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
        ]);
        let made = command.status()?;
        if made.success() { Ok(()) } else { Err(io::Error::other("initdb fails")) }
    }

    /// The directory of its socket.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has it carry out commands of SQL; what it answers.
    ///
    /// # Panics
    /// When it refuses.
    #[must_use]
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut command = Command::new("psql");
        command.env("PGPASSWORD", PASSWORD).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        command.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            "-d",
            database,
            "-c",
            text,
        ]);
        let Output { status, stdout, stderr } = command.output().expect("psql is there");
        assert!(status.success(), "{text}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its SIGTERM waits for clients; who is connected now has gone.
        end(&mut self.child);
    }
}
