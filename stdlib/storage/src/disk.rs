//! What `smartctl --json` tells of a disk, in the words of scripts: pure.

use std::collections::BTreeMap;

use hob_model::Value;
use serde_json::Value as Json;

/// Attributes of ATA disks that tell of sectors, by number: as all vendors count them.
const REALLOCATED: u64 = 5;
const UNCORRECTED: u64 = 187;
const PENDING: u64 = 197;
const OFFLINE_UNCORRECTABLE: u64 = 198;

/// The bit of the exit status that says that an attribute of a disk about to fail is at its threshold (`smartctl(8)`).
const AT_THRESHOLD: i32 = 1 << 4;

/// When a solid-state disk has been written as often as it is built for.
const WORN_PERCENT: i64 = 100;

/// What the bits of `critical_warning` say (NVM Express base specification, SMART / health information log).
const CRITICAL: [&str; 6] = [
    "its spare blocks are below their threshold",
    "its temperature is out of its limits",
    "it is no longer reliable",
    "it is read-only",
    "its backup of volatile memory failed",
    "its persistent memory is read-only",
];

/// The devices that a scan found, and how each is reached.
pub(crate) fn scanned(told: &Json) -> Vec<(String, Option<String>)> {
    let text = |it: &Json, key: &str| it[key].as_str().map(str::to_owned);
    let devices = told["devices"].as_array().map_or(&[][..], Vec::as_slice);
    devices.iter().filter_map(|it| Some((text(it, "name")?, text(it, "type")))).collect()
}

fn messages(told: &Json) -> impl Iterator<Item = &str> {
    let messages = told["smartctl"]["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().filter_map(|it| it["string"].as_str())
}

/// Whether it was left alone because it sleeps.
pub(crate) fn is_asleep(told: &Json) -> bool {
    messages(told).any(|it| {
        it.starts_with("Device is in ") && ["STANDBY", "SLEEP"].iter().any(|mode| it.contains(mode))
    })
}

/// Why nothing could be asked.
pub(crate) fn complaint(told: &Json) -> String {
    let said: Vec<&str> = messages(told).collect();
    if said.is_empty() { "smartctl does not say why".to_owned() } else { said.join("; ") }
}

fn map(
    device: &str,
    asleep: bool,
    healthy: Option<bool>,
    problems: Vec<String>,
) -> BTreeMap<&'static str, Value> {
    const UNKNOWN: [&str; 11] = [
        "model",
        "serial",
        "firmware",
        "bytes",
        "temperature",
        "hours",
        "wear",
        "reallocated",
        "pending",
        "uncorrectable",
        "media_errors",
    ];
    let mut map: BTreeMap<&'static str, Value> = UNKNOWN.map(|key| (key, Value::Unit)).into();
    map.insert("device", Value::from(device));
    map.insert("asleep", Value::Bool(asleep));
    map.insert("healthy", Value::from(healthy));
    map.insert("problems", Value::Array(problems.into_iter().map(Value::from).collect()));
    map
}

/// One that sleeps.
pub(crate) fn asleep(device: &str) -> Value {
    Value::map(map(device, true, None, Vec::new()))
}

/// One that cannot be asked.
pub(crate) fn silent(device: &str, why: &str) -> Value {
    Value::map(map(device, false, None, vec![why.to_owned()]))
}

/// One that answered; `status` is the exit status of smartctl.
pub(crate) fn described(device: &str, told: &Json, status: i32) -> Value {
    let nvme = &told["nvme_smart_health_information_log"];
    let attribute = |id: u64| {
        let table = told["ata_smart_attributes"]["table"].as_array()?;
        table.iter().find(|it| it["id"] == id)?["raw"]["value"].as_i64()
    };
    let reallocated = attribute(REALLOCATED).or(told["scsi_grown_defect_list"].as_i64());
    let pending = attribute(PENDING);
    let uncorrectable = attribute(OFFLINE_UNCORRECTABLE).max(attribute(UNCORRECTED));
    let media_errors = nvme["media_errors"].as_i64();
    let wear = nvme["percentage_used"].as_i64().or(told["scsi_percentage_used_endurance_indicator"].as_i64());
    let passed = told["smart_status"]["passed"].as_bool();

    let mut problems = Vec::new();
    if passed == Some(false) {
        problems.push("it says itself that it fails".to_owned());
    }
    if status & AT_THRESHOLD != 0 {
        problems.push("one of its values is at the threshold of a disk about to fail".to_owned());
    }
    for (count, what) in [
        (reallocated, "sectors were replaced"),
        (pending, "sectors cannot be read and wait to be replaced"),
        (uncorrectable, "sectors could not be read"),
        (media_errors, "errors of its memory could not be mended"),
    ] {
        problems.extend(count.filter(|count| *count > 0).map(|count| format!("{count} {what}")));
    }
    let critical = nvme["critical_warning"].as_u64().unwrap_or(0);
    let said = CRITICAL.iter().enumerate().filter(|(bit, _)| critical & 1 << bit != 0);
    problems.extend(said.map(|(_, what)| (*what).to_owned()));
    if let Some(wear) = wear.filter(|wear| *wear >= WORN_PERCENT) {
        problems.push(format!("{wear} % of the writes that it is built for are done"));
    }

    let knows = passed.is_some() || !problems.is_empty();
    let mut map = map(device, false, knows.then_some(problems.is_empty()), problems);
    let text = |value: &Json| Value::from(value.as_str().map(str::to_owned));
    let number = |value: Option<i64>| value.map_or(Value::Unit, Value::Int);
    let model = if told["model_name"].is_string() { &told["model_name"] } else { &told["scsi_model_name"] };
    map.extend([
        ("model", text(model)),
        ("serial", text(&told["serial_number"])),
        ("firmware", text(&told["firmware_version"])),
        ("bytes", number(told["user_capacity"]["bytes"].as_i64())),
        ("temperature", number(told["temperature"]["current"].as_i64())),
        ("hours", number(told["power_on_time"]["hours"].as_i64())),
        ("wear", number(wear)),
        ("reallocated", number(reallocated)),
        ("pending", number(pending)),
        ("uncorrectable", number(uncorrectable)),
        ("media_errors", number(media_errors)),
    ]);
    Value::map(map)
}
