//! Facts from the properties of units, as systemd has them on its bus.

use std::time::Duration;

use hob_model::{Timestamp, duration};
use rustix::time::{ClockId, clock_gettime};
use zbus::zvariant::{OwnedValue, Value as Variant};

use super::bus::Props;
use crate::name::kind_of;
use crate::port::{Facts, REPORTING_TYPES, TimerFacts, UnitLife};

/// How the kernel tells that a process was ended by a signal (`CLD_KILLED`, `CLD_DUMPED`; it is 1 for an exit).
const ENDED_BY_SIGNAL: [i32; 2] = [2, 3];

/// The interface with the properties of a type.
pub(super) fn interface(unit: &str) -> Option<&'static str> {
    Some(match kind_of(unit) {
        "service" => "org.freedesktop.systemd1.Service",
        "socket" => "org.freedesktop.systemd1.Socket",
        "mount" => "org.freedesktop.systemd1.Mount",
        "automount" => "org.freedesktop.systemd1.Automount",
        "swap" => "org.freedesktop.systemd1.Swap",
        "timer" => "org.freedesktop.systemd1.Timer",
        "path" => "org.freedesktop.systemd1.Path",
        "slice" => "org.freedesktop.systemd1.Slice",
        "scope" => "org.freedesktop.systemd1.Scope",
        _ => return None,
    })
}

fn get<T: TryFrom<OwnedValue>>(props: &Props, key: &str) -> Option<T> {
    T::try_from(props.get(key)?.try_clone().ok()?).ok()
}

/// A text that is not empty.
fn text(props: &Props, key: &str) -> Option<String> {
    get::<String>(props, key).filter(|text| !text.is_empty())
}

/// A number that is known: systemd has the largest one for those that are not.
fn number(props: &Props, key: &str) -> Option<u64> {
    get::<u64>(props, key).filter(|number| *number != u64::MAX)
}

/// A time in microseconds since 1970; 0 is none.
fn time(us: Option<u64>) -> Option<Timestamp> {
    us.filter(|us| *us != 0).and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok())
}

/// The id of a job in a property of type `(uo)`; 0 for none.
pub(super) fn job_id(job: &OwnedValue) -> u32 {
    match fields(job).first() {
        Some(Variant::U32(id)) => *id,
        _ => 0,
    }
}

fn fields<'a>(value: &'a Variant<'a>) -> &'a [Variant<'a>] {
    match value {
        Variant::Structure(structure) => structure.fields(),
        _ => &[],
    }
}

pub(super) fn facts(asked: &str, general: &Props, special: &Props) -> Facts {
    let active = text(general, "ActiveState").unwrap_or_default();
    let entered = match active.as_str() {
        "active" | "reloading" => "ActiveEnterTimestamp",
        "activating" => "InactiveExitTimestamp",
        "deactivating" => "ActiveExitTimestamp",
        _ => "InactiveEnterTimestamp",
    };
    let invocation: Vec<u8> = get(general, "InvocationID").unwrap_or_default();
    let load_error = general.get("LoadError").and_then(|error| match fields(error) {
        [_, Variant::Str(message)] if !message.is_empty() => Some(message.to_string()),
        _ => None,
    });
    Facts {
        name: text(general, "Id").unwrap_or_else(|| asked.to_owned()),
        description: text(general, "Description").unwrap_or_default(),
        load: text(general, "LoadState").unwrap_or_default(),
        load_error,
        sub: text(general, "SubState").unwrap_or_default(),
        since: time(get(general, entered)),
        active,
        result: text(special, "Result"),
        exit_code: exit_code(special),
        main_pid: get::<u32>(special, "MainPID").filter(|pid| *pid != 0),
        memory: number(special, "MemoryCurrent"),
        tasks: number(special, "TasksCurrent"),
        restarts: get(special, "NRestarts"),
        invocation: hexadecimal(&invocation),
        path: text(general, "FragmentPath"),
        drop_ins: get(general, "DropInPaths").unwrap_or_default(),
        enabled: text(general, "UnitFileState"),
        needs_reload: get(general, "NeedDaemonReload").unwrap_or_default(),
        has_job: general.get("Job").is_some_and(|job| job_id(job) != 0),
        conditions_held: get(general, "ConditionResult").unwrap_or(true),
        environment: get(special, "Environment").unwrap_or_default(),
        reports: text(special, "Type").is_some_and(|it| REPORTING_TYPES.contains(&it.as_str()))
            || number(special, "WatchdogUSec").is_some_and(|us| us > 0),
        timer: (kind_of(asked) == "timer").then(|| timer(special)),
    }
}

/// An invocation; systemd has zeros for none.
fn hexadecimal(invocation: &[u8]) -> Option<String> {
    let is_one = invocation.iter().any(|byte| *byte != 0);
    is_one.then(|| invocation.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A life, from the properties that tell it from others.
pub(super) fn life(invocation: OwnedValue, since: OwnedValue, main: Option<OwnedValue>) -> UnitLife {
    let main = main.and_then(|main| u32::try_from(main).ok());
    UnitLife {
        invocation: Vec::try_from(invocation).ok().and_then(|bytes: Vec<u8>| hexadecimal(&bytes)),
        main_pid: main.filter(|pid| *pid != 0),
        since: time(u64::try_from(since).ok()),
    }
}

fn exit_code(special: &Props) -> Option<i32> {
    const SIGNALLED: i32 = 128;
    let (code, status): (i32, i32) = (get(special, "ExecMainCode")?, get(special, "ExecMainStatus")?);
    match code {
        0 => None,
        code if ENDED_BY_SIGNAL.contains(&code) => Some(SIGNALLED + status),
        _ => Some(status),
    }
}

fn timer(special: &Props) -> TimerFacts {
    let calendar = time(number(special, "NextElapseUSecRealtime"));
    let monotonic = number(special, "NextElapseUSecMonotonic").filter(|us| *us != 0).and_then(since_boot);
    TimerFacts {
        unit: text(special, "Unit").unwrap_or_default(),
        next: [calendar, monotonic].into_iter().flatten().min(),
        last: time(get(special, "LastTriggerUSec")),
        when: ["TimersCalendar", "TimersMonotonic"].iter().flat_map(|key| settings(special, key)).collect(),
    }
}

/// What a time in microseconds since the start of the machine is in the calendar.
fn since_boot(us: u64) -> Option<Timestamp> {
    let now = clock_gettime(ClockId::Monotonic);
    let since = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    let ahead = Duration::from_micros(us).checked_sub(since)?;
    Timestamp::now().checked_add(ahead).ok()
}

/// The settings in a property of type `a(sst)` or `a(stt)`, as files write them.
fn settings(special: &Props, key: &str) -> Vec<String> {
    let Some(Variant::Array(items)) = special.get(key).map(|value| &**value) else { return Vec::new() };
    let setting = |item: &Variant<'_>| match fields(item) {
        [Variant::Str(name), Variant::Str(expression), _] => Some(format!("{name}={expression}")),
        [Variant::Str(name), Variant::U64(us), _] => {
            let span = duration::format(Duration::from_micros(*us));
            Some(format!("{}={span}", name.replace("USec", "Sec")))
        }
        _ => None,
    };
    items.iter().filter_map(setting).collect()
}
