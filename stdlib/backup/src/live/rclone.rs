//! A repository on a remote of rclone, which serves it by restic's REST protocol to this process alone.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hob_model::OpError;
use url::Url;

use super::rest::Rest;
use crate::port::{Area, Login, Store};

/// How long rclone may take until it serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What rclone writes before the address that it serves at.
const SERVES: &str = "Serving restic REST API on ";

/// Lines of rclone that are told when it does not start.
const LINES_TOLD: usize = 5;

pub(super) struct Rclone {
    remote: String,
    child: Child,
    rest: Rest,
}

impl std::fmt::Debug for Rclone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rclone({})", self.remote)
    }
}

impl Rclone {
    /// Starts rclone and waits until it serves. Others on this machine cannot ask it: its login is chance, and handed over in
    /// its environment.
    pub(super) fn start(remote: &str) -> Result<Self, OpError> {
        let mut chance = [0; 32];
        getrandom::fill(&mut chance).map_err(|error| OpError::unavailable(format!("no random: {error}")))?;
        let secret: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = Command::new("rclone");
        command
            .args(["serve", "restic", "--addr", "127.0.0.1:0", "--", remote])
            .env("RCLONE_USER", "hob")
            .env("RCLONE_PASS", &secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| {
            OpError::io(&error, "rclone").hint("install rclone: Debian's package is `rclone`")
        })?;
        let stderr = child.stderr.take().expect("it is piped");
        let mut it = Waiting(Some(child));
        let url = address(stderr)?;
        let login =
            Login { user: Some("hob".to_owned()), secret: Some(secret.into_bytes().into()), region: None };
        let rest = Rest::new(url, login)?;
        let child = it.0.take().expect("it is taken once");
        Ok(Self { remote: remote.to_owned(), child, rest })
    }
}

/// A child that ends when waiting for it failed.
struct Waiting(Option<Child>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The address that rclone says it serves at. What it writes afterwards is read, so that it never waits for a reader.
fn address(stderr: impl std::io::Read + Send + 'static) -> Result<Url, OpError> {
    let (tell, told) = mpsc::channel();
    let reading = thread::Builder::new().name("hob-rclone".into()).spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    reading.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
    let mut lines = Vec::new();
    while let Ok(line) = told.recv_timeout(START_TIMEOUT) {
        if let Some((_, address)) = line.split_once(SERVES) {
            let address = address.trim().trim_matches(['[', ']']);
            return Url::parse(address)
                .map_err(|error| OpError::failed(format!("rclone serves at `{address}`: {error}")));
        }
        lines.push(line);
    }
    let from = lines.len().saturating_sub(LINES_TOLD);
    Err(OpError::unavailable(format!("rclone does not serve the remote: {}", lines[from..].join("; ")))
        .hint("`rclone lsd REMOTE:` tells whether the remote is reached"))
}

impl Drop for Rclone {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Store for Rclone {
    fn create(&self) -> Result<(), OpError> {
        self.rest.create()
    }

    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError> {
        self.rest.list(area)
    }

    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError> {
        self.rest.read(area, name, range)
    }

    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError> {
        self.rest.write(area, name, content)
    }

    fn remove(&self, area: Area, name: &str) -> Result<(), OpError> {
        self.rest.remove(area, name)
    }
}
