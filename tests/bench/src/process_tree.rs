//! Processes that were started through others.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// Asks a program to end, or the one that it was started to start (`nsenter` and `env` do not hand signals on), and waits.
pub(crate) fn end(child: &mut Child) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let pid = children.split_whitespace().next().map_or(child.id(), |pid| pid.parse().unwrap());
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
