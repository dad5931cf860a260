//! A limit on how long the plugins of age may take: the crate `age` waits for them without one, and leaves them behind.

#![allow(clippy::disallowed_methods)] // This is an adapter: it looks at the processes of this one.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// How long a plugin may take that nobody can be asked by, in seconds.
pub(super) const ALONE_SECONDS_MAX: u64 = 30;
/// How the programs of plugins are named, before the name of the plugin.
const PROGRAM_PREFIX: &str = "age-plugin-";
/// How long one that has answered may take to end by itself.
const END_TIME: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const END_INTERVAL: Duration = Duration::from_millis(5);

/// What `act` gives, which talks to plugins in this thread; `None` where they took longer than `limit` and were killed.
/// None is left behind either way.
pub(super) fn limited<T>(limit: Duration, act: impl FnOnce() -> T) -> Option<T> {
    let owner = rustix::thread::gettid();
    let (done, is_done) = channel::<()>();
    let (result, was_killed) = thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut was_killed = false;
            // One after the other may be started while the work goes on: each look kills the next.
            let mut pause = limit;
            while is_done.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                was_killed = true;
                pause = END_INTERVAL;
                for plugin in plugins_of(owner) {
                    let _ = kill_process(plugin, Signal::KILL);
                }
            }
            was_killed
        });
        let result = act();
        drop(done);
        (result, watch.join().unwrap_or(false))
    });
    plugins_of(owner).into_iter().for_each(end);
    (!was_killed).then_some(result)
}

/// The plugins that a thread of this process has started, also those that have ended.
fn plugins_of(thread: Pid) -> Vec<Pid> {
    let children = format!("/proc/self/task/{}/children", thread.as_raw_nonzero());
    let children = fs::read_to_string(children).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw));
    let is_plugin = |pid: &Pid| {
        let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        name.is_ok_and(|name| name.starts_with(PROGRAM_PREFIX))
    };
    pids.filter(is_plugin).collect()
}

/// Waits for the end of one that is not needed any more; the crate does not.
fn end(plugin: Pid) {
    let begun = Instant::now();
    while let Ok(None) = waitpid(Some(plugin), WaitOptions::NOHANG) {
        if begun.elapsed() > END_TIME {
            let _ = kill_process(plugin, Signal::KILL);
        }
        thread::sleep(END_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests

    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::*;

    fn plugin(dir: &Path, text: &str) -> PathBuf {
        let program = dir.join("age-plugin-test");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// Reads all that a plugin writes, as the crate does: its process is left behind.
    #[allow(clippy::zombie_processes)] // that it is not waited for is what is looked at
    fn read(program: &Path) -> String {
        let mut child = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_plugin_that_does_not_answer_is_killed_and_none_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let silent = plugin(dir.path(), "while :; do :; done");
        let begun = Instant::now();
        assert_eq!(limited(Duration::from_millis(100), || read(&silent)), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
        let quick = plugin(dir.path(), "echo answer");
        let answer = limited(Duration::from_secs(60), || read(&quick));
        assert_eq!(answer.as_deref(), Some("answer\n"));
        assert!(plugins_of(rustix::thread::gettid()).is_empty());
    }
}
