//! The systemd of the lab boots, several at a time, and leaves nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests, helpers included

use std::path::Path;

use hob_lab::started;
use hob_lab::systemd::Systemd;

fn output(systemd: &Systemd, line: &[&str]) -> String {
    let output = systemd.command(line[0]).args(&line[1..]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn two_at_a_time_do_not_meet() {
    let Some(one) = started("systemd", Systemd::missing(), Systemd::start) else { return };
    let other = Systemd::start().unwrap();
    assert_ne!(one.pid(), other.pid());
    one.write_unit("only-here.service", "[Service]\nExecStart=/bin/sleep 1000\n").unwrap();
    output(&one, &["systemctl", "start", "only-here"]);
    assert_eq!(output(&one, &["systemctl", "is-active", "only-here"]), "active");
    assert_eq!(output(&other, &["systemctl", "is-active", "only-here"]), "inactive");
    assert!(!Path::new("/etc/systemd/system/only-here.service").exists());
    for systemd in [&one, &other] {
        assert_eq!(output(systemd, &["systemctl", "is-active", "systemd-journald"]), "active");
        assert_eq!(output(systemd, &["systemctl", "is-system-running"]), "running");
    }
}

#[test]
fn nothing_is_left_when_it_is_dropped() {
    let Some(systemd) = started("systemd", Systemd::missing(), Systemd::start) else { return };
    let pid = systemd.pid();
    let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let ours =
        group.lines().find_map(|line| line.split('/').find(|part| part.starts_with("hob-lab-"))).unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    drop(systemd);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let mut hierarchies = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let at = words.next()?;
        words.next()?.starts_with("cgroup").then_some(at)
    });
    assert!(hierarchies.all(|at| !Path::new(at).join(ours).exists()));
    assert_eq!(std::fs::read_to_string("/proc/mounts").unwrap(), mounts);
}
