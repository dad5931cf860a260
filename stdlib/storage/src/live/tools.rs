//! Programs of this machine.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hob_model::OpError;
use rustix::process::{Pid, Signal, kill_process};

use crate::tools::{Answer, OUTPUT_BYTES_MAX, Tools};

/// Where programs of the administrator are, which are often not in the path of a service.
const USUAL: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Programs found by the search path.
#[derive(Debug)]
pub struct LiveTools {
    path: OsString,
}

impl Default for LiveTools {
    fn default() -> Self {
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":");
        path.push(USUAL);
        Self::within(path)
    }
}

impl LiveTools {
    /// Those in directories that are written as in `PATH`.
    #[must_use]
    pub fn within(path: impl Into<OsString>) -> Self {
        Self { path: path.into() }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let mut candidates = std::env::split_paths(&self.path).map(|dir| dir.join(program));
        candidates.find(|path| path.metadata().is_ok_and(|it| it.is_file()))
    }
}

impl Tools for LiveTools {
    fn run(&self, program: &str, args: &[&str], patience: Duration) -> Result<Answer, OpError> {
        let missing = || OpError::not_found(format!("there is no program {program}")).nothing_happened();
        let found = self.find(program).ok_or_else(missing)?;
        let mut command = Command::new(found);
        // Some write times without saying of which zone.
        command.args(args).env("LC_ALL", "C.UTF-8").env("TZ", "UTC0").env("PATH", &self.path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| OpError::io(&error, program))?;
        let pid = Pid::from_child(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // A disk that is dying keeps whoever asks it: only a thread of its own may wait.
        let (answer, answered) = mpsc::channel();
        let wait = move || {
            let complaint = std::thread::spawn(move || read(stderr));
            let stdout = read(stdout);
            let status = child.wait().ok().and_then(|status| status.code());
            let stderr = complaint.join().unwrap_or_default();
            let _ =
                answer.send(Answer { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() });
        };
        let spawned = std::thread::Builder::new().name("hob-asks".into()).spawn(wait);
        spawned.map_err(|error| OpError::unavailable(format!("no thread can be started: {error}")))?;
        answered.recv_timeout(patience).map_err(|_| {
            let _ = kill_process(pid, Signal::KILL);
            OpError::timeout(format!("{program} did not end within {patience:?}"))
                .hint("the disk that it asks may be failing, or its server gone")
        })
    }
}

fn read(stream: Option<impl Read>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(stream) = stream {
        // What came until it broke off is told all the same.
        let _ = stream.take(OUTPUT_BYTES_MAX).read_to_end(&mut all);
    }
    all
}
