//! A server of power supplies, `upsd` of NUT, with one that a file describes.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::listening::{ATTEMPTS, begin, bound, end, free_port};
use crate::marker::Place;

/// Debian keeps the programs themselves here.
const PROGRAMS: &str = "/lib/nut";

/// The supply that each server has.
pub const SUPPLY: &str = "rack";

/// A server with its driver; they end with this value, and with the thread that started them.
#[derive(Debug)]
pub struct Nut {
    place: Place,
    port: u16,
    /// How often its supply was changed.
    changes: AtomicU64,
    driver: Option<Child>,
    server: Option<Child>,
}

/// What is missing to start one.
#[must_use]
pub fn missing() -> Option<String> {
    let there = ["upsd", "dummy-ups"].iter().all(|program| Path::new(PROGRAMS).join(program).exists());
    (!there).then(|| "upsd and dummy-ups (nut-server)".to_owned())
}

impl Nut {
    /// One whose supply has these variables.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(variables: &[(&str, &str)]) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let place = Place::new("nut", |_| {})?;
            let port = free_port()?;
            let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text);
            let supply = format!(
                "[{SUPPLY}]\ndriver = dummy-ups\nport = {SUPPLY}.dev\ndesc = \"the \\\"rack\\\"\"\npollinterval = 1\n"
            );
            write("ups.conf", &supply)?;
            write("upsd.conf", &format!("LISTEN 127.0.0.1 {port}\n"))?;
            write("upsd.users", "")?;
            let mut nut = Self { place, port, changes: AtomicU64::new(0), driver: None, server: None };
            nut.set(variables)?;
            let driver = nut.command("dummy-ups").args(["-a", SUPPLY, "-u", "root", "-F"]).spawn()?;
            nut.driver = Some(driver);
            if nut.begin()? {
                return Ok(nut);
            }
        }
        Err(io::Error::other("upsd does not come up"))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The supply has these variables from now on, beside those that are not named; the driver reads them within a second.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn set(&self, variables: &[(&str, &str)]) -> io::Result<()> {
        let lines: String = variables.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        // The driver must not read half of it, and tells by the second of its time whether it is another one.
        let (new, path) = (self.place.path().join("new"), self.place.path().join(format!("{SUPPLY}.dev")));
        std::fs::write(&new, lines)?;
        let changes = self.changes.fetch_add(1, Ordering::SeqCst);
        let file = std::fs::File::options().write(true).open(&new)?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + changes))?;
        std::fs::rename(new, path)
    }

    /// The server goes away, or comes back on the same port.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn away(&mut self, away: bool) {
        if away {
            end(&mut self.server);
        } else {
            assert!(self.begin().is_ok_and(|up| up), "upsd does not come back");
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = bound(&format!("{PROGRAMS}/{program}"));
        for place in ["NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH"] {
            command.env(place, self.place.path());
        }
        command
    }

    /// Starts the server; whether it listens.
    fn begin(&mut self) -> io::Result<bool> {
        self.server = begin(self.command("upsd").args(["-F", "-u", "root"]), self.port)?;
        Ok(self.server.is_some())
    }
}

impl Drop for Nut {
    fn drop(&mut self) {
        end(&mut self.server);
        end(&mut self.driver);
    }
}
