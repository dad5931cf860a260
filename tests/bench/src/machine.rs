//! What the numbers were measured on.

use std::path::Path;
use std::time::Duration;

/// Prints processor, kernel, file system and load.
pub(crate) fn describe(dir: &Path) {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| line.split(": ").nth(1))
        .collect();
    let system = rustix::system::uname();
    println!("machine   {} × {}", models.len(), models.first().unwrap_or(&"unknown processor"));
    println!(
        "system    {} {}, {} on {}",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        file_system(dir),
        dir.display()
    );
    if cfg!(debug_assertions) {
        println!("WARNING   a debug build: these numbers say nothing");
    }
    load();
}

/// Prints how busy the machine is: other work on it makes every number worse.
pub(crate) fn load() {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let parts: Vec<&str> = text.split(' ').take(3).collect();
    println!("load      {} (1, 5 and 15 minutes)", parts.join(" "));
}

/// The type of the file system that holds `dir`: that of the longest mount point that is a prefix.
fn file_system(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.len() > 2 && dir.starts_with(fields[1]));
    holding
        .max_by_key(|fields| fields[1].len())
        .map_or_else(|| "unknown".to_owned(), |fields| fields[2].to_owned())
}

/// A line of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
pub(crate) fn status_kib(pid: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor time that a process has used. On a busy machine it says more than the time on the clock.
pub(crate) fn cpu_time(pid: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time are fields 14 and 15 (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_secs_f64((ticks(14) + ticks(15)) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// KiB as MiB for people.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
