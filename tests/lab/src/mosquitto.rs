//! An MQTT broker.

use std::io;
use std::path::Path;
use std::process::{Child, Command};

use crate::listening::{ATTEMPTS, begin, bound, end, free_port};
use crate::marker::Place;

/// A mosquitto; it ends with this value, and with the thread that started it.
#[derive(Debug)]
pub struct Mosquitto {
    place: Place,
    port: u16,
    child: Option<Child>,
}

/// What is missing to start one.
#[must_use]
pub fn missing() -> Option<String> {
    let there = |program: &str| Command::new(program).arg("-h").output().is_ok();
    (!(there("mosquitto") && there("setpriv"))).then(|| "mosquitto and setpriv (util-linux)".to_owned())
}

impl Mosquitto {
    /// One that keeps what it has over restarts. `more` gives lines of its configuration, by its directory.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(more: impl Fn(&Path) -> String) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let place = Place::new("mosquitto", |_| {})?;
            let port = free_port()?;
            let dir = place.path().display().to_string();
            let config = format!(
                "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {dir}/\n{}\n",
                more(place.path())
            );
            std::fs::write(place.path().join("mosquitto.conf"), config)?;
            let mut broker = Self { place, port, child: None };
            if broker.begin()? {
                return Ok(broker);
            }
        }
        Err(io::Error::other("mosquitto does not come up"))
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it; whether it listens.
    fn begin(&mut self) -> io::Result<bool> {
        let mut command = bound("mosquitto");
        self.child = begin(command.arg("-c").arg(self.place.path().join("mosquitto.conf")), self.port)?;
        Ok(self.child.is_some())
    }

    /// It goes away, and saves what it has; or it comes back on the same port.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn away(&mut self, away: bool) {
        if away {
            end(&mut self.child);
        } else {
            assert!(self.begin().is_ok_and(|up| up), "mosquitto does not come back");
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Lines of the configuration that let in one user alone.
///
/// # Panics
/// When the file with the password cannot be made.
#[must_use]
pub fn account(dir: &Path, user: &str, password: &str) -> String {
    let file = dir.join("passwords");
    let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args([user, password]).output();
    assert!(made.is_ok_and(|made| made.status.success()), "mosquitto_passwd fails");
    format!("allow_anonymous false\npassword_file {}", file.display())
}
