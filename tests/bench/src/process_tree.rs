//! Processes that were started through others.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// What `hob up` says when it serves.
const READY: &str = "ready;";

/// A `hob up`, and what it says.
pub(crate) struct Up {
    process: Child,
    said: JoinHandle<String>,
}

impl Up {
    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, with all that it said.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let is_ready = lines.by_ref().any(|line| {
            said += &format!("{line}\n");
            line.starts_with(READY)
        });
        assert!(is_ready, "hob up did not get ready: {said}");
        // Nobody else empties the pipe, and it must not fill up.
        let said = std::thread::spawn(move || lines.fold(said, |said, line| format!("{said}{line}\n")));
        Self { process, said }
    }

    /// Asks it to end, or the one that it was started to start (`nsenter` and `env` do not hand signals on), and waits.
    ///
    /// # Panics
    /// When it does not end well, with all that it said.
    pub(crate) fn end(mut self) {
        let own = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        let pid = children.split_whitespace().next().map_or(own, |pid| pid.parse().unwrap());
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::TERM).unwrap();
        let status = self.process.wait().unwrap();
        let said = self.said.join().unwrap();
        assert!(status.success(), "hob up ended with {status}: {said}");
    }
}
