//! What the screen shows, read from what the hob that serves tells.

use serde_json::Value as Json;

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) host: Host,
    /// Whether triggers are served.
    pub(super) ready: bool,
    pub(super) runs_active: u64,
    /// Runs that need a person.
    pub(super) runs_stuck: u64,
    pub(super) services: Vec<Service>,
    /// The next to fire first: name and time.
    pub(super) schedules: Vec<(String, String)>,
    /// Runs that wait: name, and what for.
    pub(super) waiting: Vec<(String, String)>,
    /// Containers by their state.
    pub(super) containers: Vec<(String, u64)>,
    pub(super) units_failed: Vec<String>,
    pub(super) gpus: Vec<Gpu>,
    pub(super) disks: Vec<Disk>,
}

/// The machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Over one, five and fifteen minutes.
    pub(super) load: [f64; 3],
    pub(super) memory: u64,
    pub(super) memory_available: u64,
    /// Seconds that all processors spent since the start, and what of them they had nothing to do.
    pub(super) spent: f64,
    pub(super) idle: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    pub(super) tier: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) ready: bool,
    pub(super) note: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Gpu {
    pub(super) name: String,
    pub(super) used: Option<u64>,
    pub(super) memory: Option<u64>,
    /// From 0 to 1.
    pub(super) busy: Option<f64>,
    pub(super) celsius: Option<f64>,
    pub(super) watts: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) used: u64,
    pub(super) free: u64,
}

impl Seen {
    /// From the answers of `/api/v1/status` and `/api/v1/numbers`.
    pub(super) fn of(status: &Json, numbers: &Json) -> Self {
        let numbers = Numbers(numbers);
        let one = |name: &str| numbers.one(name, &[]).unwrap_or_default();
        let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
        let services = list(&status["services"]).iter().map(|it| Service {
            tier: text(&it["tier"]),
            name: text(&it["name"]),
            kind: text(&it["kind"]),
            state: text(&it["state"]),
            ready: it["ready"] == true,
            note: text(&it["note"]),
        });
        let mut schedules: Vec<_> = list(&status["schedules"])
            .iter()
            .filter_map(|it| Some((text(&it["name"]), it["next"].as_str()?.to_owned())))
            .collect();
        schedules.sort_by_key(|(_, next)| time(next));
        let waiting = list(&status["waiting"]).iter().map(|it| (text(&it["name"]), text(&it["for"])));
        Self {
            host: Host {
                load: ["1m", "5m", "15m"]
                    .map(|window| numbers.one("hob_host_load", &[("window", window)]).unwrap_or_default()),
                memory: whole(one("hob_host_memory_bytes")),
                memory_available: whole(one("hob_host_memory_available_bytes")),
                spent: numbers.all("hob_host_cpu_seconds_total").map(|(_, value)| value).sum(),
                idle: ["idle", "iowait"]
                    .iter()
                    .filter_map(|mode| numbers.one("hob_host_cpu_seconds_total", &[("mode", mode)]))
                    .sum(),
            },
            ready: one("hob_ready") > 0.0,
            runs_active: whole(one("hob_runs_active")),
            runs_stuck: whole(numbers.all("hob_runs_stuck").map(|(_, value)| value).sum()),
            services: services.collect(),
            schedules,
            waiting: waiting.collect(),
            containers: numbers
                .all("hob_containers")
                .map(|(labels, value)| (text(&labels["state"]), whole(value)))
                .collect(),
            units_failed: numbers.all("hob_unit_failed").map(|(labels, _)| text(&labels["unit"])).collect(),
            gpus: numbers.gpus(),
            disks: numbers.disks(),
        }
    }

    /// The share of the processors' time since `before` in which they had something to do.
    pub(super) fn busy_since(&self, before: &Self) -> Option<f64> {
        let spent = self.host.spent - before.host.spent;
        let idle = self.host.idle - before.host.idle;
        (spent > 0.0).then(|| (1.0 - idle / spent).clamp(0.0, 1.0))
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts and bytes, exact below 2^53
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// Families of numbers.
struct Numbers<'j>(&'j Json);

impl<'j> Numbers<'j> {
    fn all(&self, name: &str) -> impl Iterator<Item = (&'j Json, f64)> + use<'j> {
        let family = list(self.0).iter().find(|family| family["name"] == name);
        let samples = family.map_or(&[][..], |family| list(&family["samples"]));
        samples.iter().filter_map(|it| Some((&it["labels"], it["value"].as_f64()?)))
    }

    fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |of: &Json| labels.iter().all(|(label, value)| of[*label] == *value);
        self.all(name).find(|(of, _)| fits(of)).map(|(_, value)| value)
    }

    fn gpus(&self) -> Vec<Gpu> {
        let gpu = |labels: &Json| {
            let id = labels["gpu"].as_str().unwrap_or_default();
            let of = |name: &str| self.one(name, &[("gpu", id)]);
            Gpu {
                name: labels["name"].as_str().unwrap_or_default().to_owned(),
                used: of("hob_gpu_memory_used_bytes").map(whole),
                memory: of("hob_gpu_memory_bytes").map(whole),
                busy: self.one("hob_gpu_utilization_ratio", &[("gpu", id), ("engine", "compute")]),
                celsius: of("hob_gpu_temperature_celsius"),
                watts: of("hob_gpu_power_watts"),
            }
        };
        self.all("hob_gpu_info").map(|(labels, _)| gpu(labels)).collect()
    }

    fn disks(&self) -> Vec<Disk> {
        let disk = |(labels, bytes): (&Json, f64)| {
            let path = labels["path"].as_str().unwrap_or_default();
            let of = |name: &str| whole(self.one(name, &[("path", path)]).unwrap_or_default());
            let (used, free) = (of("hob_host_disk_used_bytes"), of("hob_host_disk_free_bytes"));
            Disk { path: path.to_owned(), bytes: whole(bytes), used, free }
        };
        self.all("hob_host_disk_bytes").map(disk).collect()
    }
}
