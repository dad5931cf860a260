//! hob as a unit of systemd: its watchdog, and whether the machine is being shut down.
#![allow(clippy::disallowed_methods)] // It asks the service manager, in real time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a loop of hob may be silent until hob counts as stuck: the slowest looks around every ten seconds.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// How many times hob tells the watchdog in each of its intervals.
const TELLS_PER_INTERVAL: u32 = 3;

/// Tells the watchdog of the service manager, if there is one, that hob works: as long as each of the counters that `beats`
/// gives goes on.
pub(crate) fn feed_watchdog<const N: usize>(beats: impl Fn() -> [u64; N] + Send + 'static) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let feed = move || {
        let mut last = beats().map(|beat| (beat, Instant::now()));
        loop {
            std::thread::sleep(interval / TELLS_PER_INTERVAL);
            for (known, beat) in last.iter_mut().zip(beats()) {
                if known.0 != beat {
                    *known = (beat, Instant::now());
                }
            }
            if last.iter().all(|(_, since)| since.elapsed() < SILENCE_MAX.max(interval / 2)) {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("hob-watchdog".into()).spawn(feed) {
        tracing::warn!(%error, "the watchdog cannot be fed");
    }
}

/// Has the manager that hob is a unit of start targets, one after the other; does nothing where hob is no unit. Nobody waits
/// for it: a manager that does not answer holds up nothing.
pub(crate) fn start_targets(targets: Vec<String>) {
    if std::env::var_os("INVOCATION_ID").is_none() || targets.is_empty() {
        return;
    }
    let start = move || {
        for target in targets {
            let mut command = Command::new("systemctl");
            if !rustix::process::geteuid().is_root() {
                command.arg("--user");
            }
            match command.args(["start", &target]).stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    tracing::warn!(target, said = said.trim(), "a target was not started");
                }
                Err(error) => tracing::warn!(target, %error, "a target was not started"),
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("hob-targets".into()).spawn(start) {
        tracing::warn!(%error, "no target is started");
    }
}

/// Whether the machine is being shut down, as the manager says that hob is a unit of. `systemctl` asks it over its own
/// socket, which outlives the bus.
pub(crate) fn is_shutting_down() -> bool {
    if std::env::var_os("INVOCATION_ID").is_none() {
        return false;
    }
    let mut command = Command::new("systemctl");
    command.arg("is-system-running").stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|output| output.stdout.trim_ascii() == b"stopping")
}
