//! Properties of transient units as unit files write them, in the types that systemd's bus wants.
//!
//! On the bus some have another name and type than in files: `TimeoutStopSec=30s` is `TimeoutStopUSec`, a number of
//! microseconds. `systemctl` and `systemd-run` translate them on their side (`bus-unit-util.c` of systemd), and so must
//! whoever speaks to the bus: what is not in this table is refused.

use std::collections::BTreeMap;

use hob_model::names::nearest;
use hob_model::{OpError, Value};

use crate::name::UnitName;
use crate::port::{Properties, Property};
use crate::values;

/// How many properties a transient unit may have.
pub(crate) const PROPERTIES_MAX: usize = 100;

/// How a value is read.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Int,
    /// A number of 32 bits.
    Uint,
    /// A number, or `infinity`.
    Number,
    /// Bytes, or `infinity`.
    Size,
    /// A span; on the bus the name ends in `USec`.
    Span,
    /// A share of one processor; on the bus `CPUQuotaPerSecUSec`.
    Quota,
    /// A limit of processes; on the bus hard and soft.
    Limit,
    Texts,
    Units,
    Commands,
    /// Permission bits in octal digits.
    Mode,
    /// One of these names, a number on the bus.
    Choice(&'static [(&'static str, i32)]),
    /// Names, or with `~` in front all but these; on the bus a truth value and the names.
    Filter,
    /// Capabilities, or with `~` in front all but these; on the bus a set of bits.
    Capabilities,
    /// A path, and what belongs to it behind a space or colon: `"/dev/fuse rw"`.
    Pairs(char),
    /// A path and bytes: `"/dev/sda 10M"`.
    Amounts,
    /// `"/outside:/inside"`, with `-` in front where it may be missing.
    Binds,
    /// Files, with `-` in front where they may be missing; on the bus `EnvironmentFiles`.
    Files,
}

/// Properties that make sense for a transient service, by their names in unit files (systemd.unit(5), systemd.service(5),
/// systemd.exec(5), systemd.kill(5), systemd.resource-control(5)).
const SERVICE: &[(&str, Kind)] = &[
    // Dependencies.
    ("After", Kind::Units),
    ("Before", Kind::Units),
    ("BindsTo", Kind::Units),
    ("Conflicts", Kind::Units),
    ("DefaultDependencies", Kind::Bool),
    ("FailureAction", Kind::Text),
    ("OnFailure", Kind::Units),
    ("OnSuccess", Kind::Units),
    ("PartOf", Kind::Units),
    ("Requires", Kind::Units),
    ("RequiresMountsFor", Kind::Texts),
    ("Requisite", Kind::Units),
    ("StopWhenUnneeded", Kind::Bool),
    ("SuccessAction", Kind::Text),
    ("Upholds", Kind::Units),
    ("Wants", Kind::Units),
    // The service.
    ("BusName", Kind::Text),
    ("ExecCondition", Kind::Commands),
    ("ExecReload", Kind::Commands),
    ("ExecStartPost", Kind::Commands),
    ("ExecStartPre", Kind::Commands),
    ("ExecStop", Kind::Commands),
    ("ExecStopPost", Kind::Commands),
    ("NotifyAccess", Kind::Text),
    ("OOMPolicy", Kind::Text),
    ("PIDFile", Kind::Text),
    ("Restart", Kind::Text),
    ("RestartSec", Kind::Span),
    ("RuntimeMaxSec", Kind::Span),
    ("StartLimitBurst", Kind::Uint),
    ("StartLimitIntervalSec", Kind::Span),
    ("TimeoutAbortSec", Kind::Span),
    ("TimeoutStartSec", Kind::Span),
    ("TimeoutStopSec", Kind::Span),
    ("Type", Kind::Text),
    ("WatchdogSec", Kind::Span),
    // What it runs as, and with.
    ("CPUSchedulingPolicy", Kind::Choice(CPU_POLICIES)),
    ("CPUSchedulingPriority", Kind::Int),
    ("CacheDirectory", Kind::Texts),
    ("CacheDirectoryMode", Kind::Mode),
    ("ConfigurationDirectory", Kind::Texts),
    ("DynamicUser", Kind::Bool),
    ("EnvironmentFile", Kind::Files),
    ("Group", Kind::Text),
    ("IOSchedulingClass", Kind::Choice(IO_CLASSES)),
    ("IOSchedulingPriority", Kind::Int),
    ("IgnoreSIGPIPE", Kind::Bool),
    ("LimitAS", Kind::Limit),
    ("LimitCORE", Kind::Limit),
    ("LimitCPU", Kind::Limit),
    ("LimitDATA", Kind::Limit),
    ("LimitFSIZE", Kind::Limit),
    ("LimitMEMLOCK", Kind::Limit),
    ("LimitNOFILE", Kind::Limit),
    ("LimitNPROC", Kind::Limit),
    ("LimitSTACK", Kind::Limit),
    ("LoadCredential", Kind::Pairs(':')),
    ("LogLevelMax", Kind::Choice(LEVELS)),
    ("LogsDirectory", Kind::Texts),
    ("LogsDirectoryMode", Kind::Mode),
    ("Nice", Kind::Int),
    ("OOMScoreAdjust", Kind::Int),
    ("PAMName", Kind::Text),
    ("PassEnvironment", Kind::Texts),
    ("Personality", Kind::Text),
    ("RemoveIPC", Kind::Bool),
    ("RootDirectory", Kind::Text),
    ("RuntimeDirectory", Kind::Texts),
    ("RuntimeDirectoryMode", Kind::Mode),
    ("RuntimeDirectoryPreserve", Kind::Text),
    ("Slice", Kind::Text),
    ("StandardError", Kind::Text),
    ("StandardInput", Kind::Text),
    ("StandardOutput", Kind::Text),
    ("StateDirectory", Kind::Texts),
    ("StateDirectoryMode", Kind::Mode),
    ("SupplementaryGroups", Kind::Texts),
    ("SyslogIdentifier", Kind::Text),
    ("TTYPath", Kind::Text),
    ("UMask", Kind::Mode),
    ("UnsetEnvironment", Kind::Texts),
    ("User", Kind::Text),
    ("UtmpIdentifier", Kind::Text),
    ("WorkingDirectory", Kind::Text),
    // How it is ended.
    ("FinalKillSignal", Kind::Choice(SIGNALS)),
    ("KillMode", Kind::Text),
    ("KillSignal", Kind::Choice(SIGNALS)),
    ("RestartKillSignal", Kind::Choice(SIGNALS)),
    ("SendSIGHUP", Kind::Bool),
    ("SendSIGKILL", Kind::Bool),
    ("WatchdogSignal", Kind::Choice(SIGNALS)),
    // Sandboxes.
    ("AmbientCapabilities", Kind::Capabilities),
    ("BindPaths", Kind::Binds),
    ("BindReadOnlyPaths", Kind::Binds),
    ("CapabilityBoundingSet", Kind::Capabilities),
    ("ExecPaths", Kind::Texts),
    ("InaccessiblePaths", Kind::Texts),
    ("LockPersonality", Kind::Bool),
    ("MemoryDenyWriteExecute", Kind::Bool),
    ("NoExecPaths", Kind::Texts),
    ("NoNewPrivileges", Kind::Bool),
    ("PrivateDevices", Kind::Bool),
    ("PrivateIPC", Kind::Bool),
    ("PrivateMounts", Kind::Bool),
    ("PrivateNetwork", Kind::Bool),
    ("PrivateTmp", Kind::Bool),
    ("PrivateUsers", Kind::Bool),
    ("ProcSubset", Kind::Text),
    ("ProtectClock", Kind::Bool),
    ("ProtectControlGroups", Kind::Bool),
    ("ProtectHome", Kind::Text),
    ("ProtectHostname", Kind::Bool),
    ("ProtectKernelLogs", Kind::Bool),
    ("ProtectKernelModules", Kind::Bool),
    ("ProtectKernelTunables", Kind::Bool),
    ("ProtectProc", Kind::Text),
    ("ProtectSystem", Kind::Text),
    ("ReadOnlyPaths", Kind::Texts),
    ("ReadWritePaths", Kind::Texts),
    ("RestrictAddressFamilies", Kind::Filter),
    ("RestrictRealtime", Kind::Bool),
    ("RestrictSUIDSGID", Kind::Bool),
    ("SystemCallArchitectures", Kind::Texts),
    ("SystemCallFilter", Kind::Filter),
    ("TemporaryFileSystem", Kind::Pairs(':')),
    // What it may use.
    ("CPUAccounting", Kind::Bool),
    ("CPUQuota", Kind::Quota),
    ("CPUQuotaPeriodSec", Kind::Span),
    ("CPUWeight", Kind::Number),
    ("Delegate", Kind::Bool),
    ("DeviceAllow", Kind::Pairs(' ')),
    ("DevicePolicy", Kind::Text),
    ("IOAccounting", Kind::Bool),
    ("IODeviceWeight", Kind::Amounts),
    ("IOReadBandwidthMax", Kind::Amounts),
    ("IOReadIOPSMax", Kind::Amounts),
    ("IOWeight", Kind::Number),
    ("IOWriteBandwidthMax", Kind::Amounts),
    ("IOWriteIOPSMax", Kind::Amounts),
    ("IPAccounting", Kind::Bool),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("MemoryAccounting", Kind::Bool),
    ("MemoryHigh", Kind::Size),
    ("MemoryLow", Kind::Size),
    ("MemoryMax", Kind::Size),
    ("MemoryMin", Kind::Size),
    ("MemorySwapMax", Kind::Size),
    ("StartupCPUWeight", Kind::Number),
    ("StartupIOWeight", Kind::Number),
    ("TasksAccounting", Kind::Bool),
    ("TasksMax", Kind::Number),
];

/// The numbers of sched(7).
const CPU_POLICIES: &[(&str, i32)] = &[("other", 0), ("fifo", 1), ("rr", 2), ("batch", 3), ("idle", 5)];

/// The numbers of ioprio_set(2).
const IO_CLASSES: &[(&str, i32)] = &[("none", 0), ("realtime", 1), ("best-effort", 2), ("idle", 3)];

/// The numbers of syslog(3).
const LEVELS: &[(&str, i32)] = &[
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// The numbers of signal(7) that services are ended with.
const SIGNALS: &[(&str, i32)] = &[
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGABRT", 6),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGTERM", 15),
    ("SIGCONT", 18),
    ("SIGWINCH", 28),
];

/// What hob itself decides, or has an option for.
const RESERVED: [(&str, &str); 6] = [
    ("Description", "use the option `description`"),
    ("Environment", "use the option `env`"),
    ("ExecStart", "it is the first argument of units::run"),
    ("RemainAfterExit", "a unit that ended stays until its result is recorded"),
    ("CollectMode", "a unit that ended stays until its result is recorded"),
    ("RemainAfterElapse", "a timer that fired stays until its result is recorded"),
];

/// Reads the option `properties`.
///
/// # Errors
/// `invalid`, when one is unknown or its value does not fit.
pub(crate) fn read(given: BTreeMap<String, Value>) -> Result<Properties, OpError> {
    if given.len() > PROPERTIES_MAX {
        return Err(OpError::invalid(format!("{} properties, more than {PROPERTIES_MAX}", given.len())));
    }
    let mut properties = Properties::new();
    for (name, value) in given {
        let Some((_, kind)) = SERVICE.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(&name));
        };
        let wrong = |why: String| OpError::invalid(format!("option `properties`: {name}: {why}"));
        one(&name, *kind, value, &mut properties).map_err(wrong)?;
    }
    Ok(properties)
}

fn unknown(name: &str) -> OpError {
    let hint = match RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        Some((_, why)) => (*why).to_owned(),
        None => match nearest(name, known()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "what is not among these goes into a unit file, with units::write_unit".to_owned(),
        },
    };
    OpError::invalid(format!("option `properties`: {name} cannot be set on a transient unit"))
        .hint(hint)
        .detail("known", known().map(str::to_owned).collect::<Vec<_>>())
}

fn one(name: &str, kind: Kind, value: Value, into: &mut Properties) -> Result<(), String> {
    let (on_bus, property) = match kind {
        Kind::Text => (name.to_owned(), Property::Text(values::text(value)?)),
        Kind::Bool => (name.to_owned(), Property::Bool(values::truth(&value)?)),
        Kind::Int => (name.to_owned(), Property::Int(values::small(&value)?)),
        Kind::Uint => (name.to_owned(), Property::Uint(values::small(&value)?)),
        Kind::Number => (name.to_owned(), Property::Number(values::number(&value)?)),
        Kind::Size => (name.to_owned(), Property::Number(values::bytes(&value)?)),
        Kind::Span => {
            let on_bus = format!("{}USec", name.trim_end_matches("Sec"));
            (on_bus, Property::Number(values::span(&value)?))
        }
        Kind::Quota => ("CPUQuotaPerSecUSec".to_owned(), Property::Number(values::quota(&value)?)),
        Kind::Limit => {
            let limit = values::bytes(&value)?;
            into.push((name.to_owned(), Property::Number(limit)));
            (format!("{name}Soft"), Property::Number(limit))
        }
        Kind::Texts => (name.to_owned(), Property::Texts(values::texts(value)?)),
        Kind::Units => {
            let full =
                |text: String| UnitName::parse(&text).map(|unit| unit.to_string()).map_err(|m| m.message);
            let units = values::texts(value)?.into_iter().map(full).collect::<Result<_, _>>()?;
            (name.to_owned(), Property::Texts(units))
        }
        Kind::Commands => (name.to_owned(), Property::Commands(vec![command(value)?])),
        Kind::Mode => (name.to_owned(), Property::Uint(values::mode(value)?)),
        Kind::Choice(known) => (name.to_owned(), Property::Int(values::choice(value, known)?)),
        Kind::Filter => {
            let (without, names) = values::inverted(value)?;
            (name.to_owned(), Property::Filter(!without, names))
        }
        Kind::Capabilities => (name.to_owned(), Property::Number(values::capabilities(value)?)),
        Kind::Pairs(between) => (name.to_owned(), Property::Pairs(values::pairs(value, between)?)),
        Kind::Amounts => (name.to_owned(), Property::Amounts(values::amounts(value)?)),
        Kind::Binds => (name.to_owned(), Property::Binds(values::binds(value)?)),
        Kind::Files => ("EnvironmentFiles".to_owned(), Property::Files(values::files(value)?)),
    };
    into.push((on_bus, property));
    Ok(())
}

/// The names of all that a transient unit can be given.
fn known() -> impl Iterator<Item = &'static str> {
    SERVICE.iter().map(|(known, _)| *known)
}

/// A command: an array of program and arguments, or a text that is split as a shell splits it.
pub(crate) fn command(value: Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(text) => shlex::split(&text).ok_or("a quote in the command is not closed")?,
        Value::Array(items) => items.into_iter().map(values::word).collect::<Result<_, _>>()?,
        other => return Err(format!("expected a command, got {}", other.type_name())),
    };
    match words.first() {
        Some(program) if !program.is_empty() && !words.iter().any(|word| word.contains('\0')) => Ok(words),
        Some(_) => Err("a command has a program, and no NUL character".to_owned()),
        None => Err("the command is empty".to_owned()),
    }
}
