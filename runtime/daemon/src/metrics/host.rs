//! The machine: load, memory, processors, disks, networks, temperatures.

#![allow(clippy::disallowed_methods)] // this is the adapter: the kernel tells in files
#![allow(clippy::cast_precision_loss)] // numbers of a metric are floating-point; they are exact below 2^53

use std::path::Path;
use std::sync::Arc;

use hob_model::OpError;
use hob_primitive::{BoxFuture, Family, Measured};
use procfs::net::DeviceStatus;
use procfs::{Current, CurrentSI};

use crate::disks::{Disk, Disks};

/// Sensors of one chip that are asked; the kernel numbers them from 1.
const SENSORS_MAX: u32 = 64;
/// Where the kernel lists the chips that measure.
const HWMON: &str = "/sys/class/hwmon";

/// Measures the machine.
pub struct HostMeasures {
    disks: Arc<dyn Disks>,
}

impl HostMeasures {
    /// Measures, with these disks.
    #[must_use]
    pub fn new(disks: Arc<dyn Disks>) -> Self {
        Self { disks }
    }
}

impl Measured for HostMeasures {
    fn name(&self) -> &'static str {
        "host"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            let measured = tokio::task::spawn_blocking(move || {
                let mut all = kernel().map_err(|error| OpError::failed(error.to_string()))?;
                all.extend(disks(&self.disks.disks()?));
                all.push(temperatures(Path::new(HWMON)));
                Ok(all)
            });
            measured.await.map_err(|error| OpError::failed(error.to_string()))?
        })
    }
}

/// What `/proc` tells.
fn kernel() -> procfs::ProcResult<Vec<Family>> {
    let load = procfs::LoadAverage::current()?;
    let memory = procfs::Meminfo::current()?;
    let stat = procfs::KernelStats::current()?;
    let ticks = procfs::ticks_per_second() as f64;
    let cpu = &stat.total;
    let modes = [
        ("user", Some(cpu.user)),
        ("nice", Some(cpu.nice)),
        ("system", Some(cpu.system)),
        ("idle", Some(cpu.idle)),
        ("iowait", cpu.iowait),
        ("irq", cpu.irq),
        ("softirq", cpu.softirq),
        ("steal", cpu.steal),
    ];
    let modes = modes.into_iter().filter_map(|(mode, spent)| Some((mode, spent? as f64 / ticks)));
    let windows = [("1m", load.one), ("5m", load.five), ("15m", load.fifteen)];
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Ok(vec![
        Family::gauge("hob_host_load", "Processes that run or wait to, on average over a window of time")
            .with(windows.map(|(window, load)| ([("window", window.to_owned())], f64::from(load)))),
        Family::gauge("hob_host_processors", "Processors of the machine").one(stat.cpu_time.len() as f64),
        Family::counter("hob_host_cpu_seconds_total", "Time that all processors spent, by what they did")
            .with(modes.map(|(mode, spent)| ([("mode", mode.to_owned())], spent))),
        Family::gauge("hob_host_boot_time_seconds", "When the machine started, in Unix time")
            .one(stat.btime as f64),
        Family::gauge("hob_host_memory_bytes", "Memory of the machine").one(memory.mem_total as f64),
        Family::gauge("hob_host_memory_available_bytes", "Memory that programs can still have")
            .one(available as f64),
        Family::gauge("hob_host_swap_bytes", "Swap space of the machine").one(memory.swap_total as f64),
        Family::gauge("hob_host_swap_free_bytes", "Swap space that is not used").one(memory.swap_free as f64),
    ]
    .into_iter()
    .chain(networks(procfs::net::dev_status()?.into_values().collect()))
    .collect())
}

fn networks(mut interfaces: Vec<DeviceStatus>) -> [Family; 4] {
    interfaces.retain(|it| it.name != "lo");
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    type Count = fn(&DeviceStatus) -> u64;
    let counter = |name, help, count: Count| {
        let samples = interfaces.iter().map(|it| ([("interface", it.name.clone())], count(it) as f64));
        Family::counter(name, help).with(samples)
    };
    [
        counter("hob_host_network_receive_bytes_total", "Bytes that an interface received", |it| {
            it.recv_bytes
        }),
        counter("hob_host_network_transmit_bytes_total", "Bytes that an interface sent", |it| it.sent_bytes),
        counter("hob_host_network_receive_errors_total", "Packets that came damaged", |it| it.recv_errs),
        counter("hob_host_network_transmit_errors_total", "Packets that could not be sent", |it| {
            it.sent_errs
        }),
    ]
}

fn disks(disks: &[Disk]) -> [Family; 3] {
    let gauge = |name, help, bytes: fn(&Disk) -> u64| {
        let labels = |disk: &Disk| [("path", disk.path.clone()), ("device", disk.device.clone())];
        Family::gauge(name, help).with(disks.iter().map(|disk| (labels(disk), bytes(disk) as f64)))
    };
    [
        gauge("hob_host_disk_bytes", "Space of a local file system", |disk| disk.bytes),
        gauge("hob_host_disk_used_bytes", "Space of a local file system that is taken", |disk| {
            disk.used_bytes
        }),
        gauge("hob_host_disk_free_bytes", "Space of a local file system that anybody can write", |disk| {
            disk.free_bytes
        }),
    ]
}

/// What the chips under `directory` measure, by the [names of the
/// kernel](https://docs.kernel.org/hwmon/sysfs-interface.html), in thousandths of degrees.
fn temperatures(directory: &Path) -> Family {
    let mut family = Family::gauge("hob_host_temperature_celsius", "What a sensor of the machine measures");
    let chips = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut chips: Vec<_> = chips.map(|chip| chip.path()).collect();
    chips.sort();
    for chip in chips {
        let read = |name: String| Some(std::fs::read_to_string(chip.join(name)).ok()?.trim().to_owned());
        let known = chip.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = read("name".to_owned()).unwrap_or_default();
        for number in 1..=SENSORS_MAX {
            let Some(measured) = read(format!("temp{number}_input")) else { continue };
            let Ok(thousandths) = measured.parse::<f64>() else { continue };
            let sensor = read(format!("temp{number}_label")).unwrap_or_else(|| format!("temp{number}"));
            let labels = vec![("chip", name.clone()), ("device", known.clone()), ("sensor", sensor)];
            family.push(labels, thousandths / 1000.0);
        }
    }
    family
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_machine() {
        let told = kernel().unwrap();
        let value = |name: &str| told.iter().find(|it| it.name == name).unwrap().samples[0].value;
        assert!(value("hob_host_memory_available_bytes") <= value("hob_host_memory_bytes"));
        assert!(value("hob_host_boot_time_seconds") > 1e9);
    }

    #[test]
    fn sensors_are_known_by_their_chip_and_label() {
        let chips = tempfile::tempdir().unwrap();
        let chip = chips.path().join("hwmon0");
        std::fs::create_dir(&chip).unwrap();
        for (name, text) in [
            ("name", "k10temp\n"),
            ("temp1_input", "41250\n"),
            ("temp1_label", "Tctl\n"),
            ("temp3_input", "x"),
        ] {
            std::fs::write(chip.join(name), text).unwrap();
        }
        let told = temperatures(chips.path());
        let labels = [("chip", "k10temp"), ("device", "hwmon0"), ("sensor", "Tctl")];
        let labels = labels.map(|(label, value)| (label, value.to_owned())).to_vec();
        assert_eq!(told.samples, [hob_primitive::Sample { labels, value: 41.25 }]);
        assert!(temperatures(Path::new("/nowhere")).samples.is_empty());
    }
}
