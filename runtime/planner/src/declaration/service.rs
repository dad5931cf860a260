//! Services.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hob_model::{Code, Diagnostic, Value};

use super::gate::read_gate;
use super::gpu::{self, GPU_DEVICE, read_gpu};
use super::health::read_health;
use super::options::{Options, text, texts};
use super::{
    Asked, Body, Exposure, Gate, Homelab, Kept, Kind, Process, READY_TIMEOUT, REPLICA_VARIABLE, Raw,
    Readiness, Replica, STOP_TIMEOUT, SecretUse, Service, Surroundings, bad, hooks, host, replicas, update,
};
use crate::restart::{OnDrift, Policy, Restart};

/// The options of every service.
const COMMON: [&str; 23] = [
    "backup",
    "tier",
    "host",
    "port",
    "needs",
    "wants",
    "ready",
    "ready_timeout",
    "health",
    "restart",
    "drift",
    "stop_timeout",
    "reload",
    "stop_on_exit",
    "critical",
    "public",
    "bypass_auth",
    "tailscale_funnel",
    "network",
    "update",
    "hooks",
    "replicas",
    "gpu",
];

/// The options of services that are processes.
const PROCESS: [&str; 5] = ["command", "args", "env", "user", "workdir"];

/// The most variables of one service.
const VARIABLES_MAX: usize = 1_000;

/// How the names of variables begin that hob gives to services itself.
pub(super) const OWN_VARIABLES: &str = "HOB_";

/// A command as text or list.
pub(super) const COMMAND: &str = "a text or an array of texts such as [\"caddy\", \"run\"]";

/// Reads a service, or each of its replicas; none where it lacks what it cannot be without.
pub(super) fn read(
    raw: &Raw,
    homelab: &Homelab,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Service> {
    let mut raw = raw.clone();
    let host = host::of(&raw, &homelab.hosts, surroundings.host);
    let set_by = host.map(|host| host::apply(&mut raw, host)).unwrap_or_default();
    let told = diagnostics.len();
    let written = raw.options.clone();
    let count = replicas::take(&mut raw, diagnostics);
    let service = read_merged(raw.clone(), None, homelab, surroundings, diagnostics);
    let services = match (service, count) {
        (Some(service), Some(count)) => {
            // What is wrong with one is wrong with all, and was told.
            let read = |name: String, replica| {
                let raw = Raw { name: name.into(), ..raw.clone() };
                read_merged(raw, Some(replica), homelab, surroundings, &mut Vec::new())
            };
            replicas::all(service, count, surroundings.kinds, diagnostics, read)
        }
        (service, _) => service.into_iter().collect(),
    };
    if let Some(host) = host.filter(|_| !set_by.is_empty()) {
        let keys = set_by.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        for diagnostic in diagnostics.iter_mut().skip(told) {
            let note = format!("host `{}` sets {keys} at {}", host.name, host.source);
            *diagnostic = diagnostic.clone().note(note);
        }
    }
    let with = |service| Service { options: written.clone(), set_by: set_by.clone(), ..service };
    services.into_iter().map(with).collect()
}

/// Reads a service that is as its host wants it.
fn read_merged(
    mut raw: Raw,
    replica: Option<Replica>,
    homelab: &Homelab,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Service> {
    let (around_update, around, memory) =
        (update::take_hooks(&mut raw), hooks::take(&mut raw), gpu::take(&mut raw));
    let kind = kind_of(&raw, surroundings.kinds, diagnostics)?;
    let own: BTreeSet<&str> = kind.map_or_else(|| PROCESS.into(), Kind::options);
    let secrets = super::secret::take(&mut raw, own.contains("credentials"), diagnostics);
    refuse_other_kinds(&mut raw, kind, &own, surroundings.kinds, diagnostics);
    let known: Vec<&str> = COMMON.into_iter().chain(own.iter().copied()).collect();
    let mut options = Options::open(&raw, &known, diagnostics);
    refuse_backup(&mut options);
    let via = read_via(&mut options, kind);
    let stop_timeout = options.duration("stop_timeout").unwrap_or(STOP_TIMEOUT);
    let port = options.port("port");
    let mut hooks = hooks::read(&mut options, around);
    let gpu = read_gpu(&mut options, memory, &mut hooks);
    let (body, workdir) = match kind {
        None => process(&mut options, surroundings.directory, secrets, replica.as_ref()),
        Some(kind) => {
            let asked = Asked {
                homelab: &homelab.name,
                name: &raw.name,
                options: given(&mut options, &own, replica.as_ref()),
                via: via.as_deref(),
                device: gpu.as_ref().map(|gpu| format!("{GPU_DEVICE}={}", gpu.pick)),
                stop_timeout,
                directory: surroundings.directory,
            };
            (kept(kind, &asked, secrets, &mut options), surroundings.directory.to_path_buf())
        }
    };
    let ready = read_ready(&mut options, port, &workdir, kind);
    let restart = read_restart(&mut options, &ready.gate);
    let service = Service {
        name: raw.name.to_string(),
        tier: options.text("tier"),
        host: options.text("host"),
        port,
        needs: sorted(options.texts("needs").into_iter().flatten().chain(via.clone())),
        wants: sorted(options.texts("wants").into_iter().flatten()),
        mounts: Vec::new(),
        datasets: Vec::new(),
        health: read_health(&mut options, port, &workdir, &ready.gate)
            .filter(|health| has_gate(&mut options, "health", &health.gate, kind)),
        ready,
        restart,
        drift: options.choice("drift", &OnDrift::ALL).unwrap_or_default(),
        stop_timeout,
        reload: super::secret::read_reload(&mut options, kind, body.as_ref()),
        stop_on_exit: options.bool("stop_on_exit"),
        critical: options.bool("critical").unwrap_or_default(),
        exposure: read_exposure(&mut options),
        update: update::read_update(&mut options, &raw.name, around_update, &homelab.timezone, surroundings)
            .filter(|it| {
                may_update(&mut options, kind)
                    && update::may_roll(&mut options, it, kind, body.as_ref(), (via.as_deref(), gpu.as_ref()))
            }),
        hooks,
        replica,
        gpu,
        via,
        body: body.clone().unwrap_or_else(|| Body::Process(Process::default())),
        options: Value::Unit,
        set_by: BTreeMap::new(),
        source: raw.source,
    };
    super::check::exposure(&service, diagnostics);
    body.map(|_| service)
}

/// The engine took it where it is a map.
fn refuse_backup(options: &mut Options<'_>) {
    if let Some(backup) = options.take("backup") {
        let wanted = "a map such as #{ to: \"…\", password: secret(\"…\"), dump: \"postgres\" }";
        options.wrong("backup", wanted, &backup);
    }
}

/// The options that are the kind's own.
fn given(
    options: &mut Options<'_>,
    own: &BTreeSet<&str>,
    replica: Option<&Replica>,
) -> BTreeMap<String, Value> {
    let mut given: BTreeMap<String, Value> =
        own.iter().filter_map(|key| Some(((*key).to_owned(), options.take(key)?))).collect();
    replica.iter().filter(|_| own.contains("env")).for_each(|it| replicas::tell(&mut given, it));
    given
}

fn read_ready(
    options: &mut Options<'_>,
    port: Option<u16>,
    workdir: &Path,
    kind: Option<&dyn Kind>,
) -> Readiness {
    let gate = options
        .take("ready")
        .and_then(|value| read_gate(options, "ready", &value, port, workdir))
        .filter(|gate| has_gate(options, "ready", gate, kind))
        .unwrap_or_else(|| default_gate(port, kind));
    Readiness { gate, timeout: options.duration("ready_timeout").unwrap_or(READY_TIMEOUT) }
}

/// The gate of a service that names none.
fn default_gate(port: Option<u16>, kind: Option<&dyn Kind>) -> Gate {
    match (port, kind) {
        (Some(port), _) => Gate::Tcp { port },
        (None, Some(kind)) => kind.gate(),
        (None, None) => Gate::Alive,
    }
}

fn read_exposure(options: &mut Options<'_>) -> Exposure {
    Exposure {
        public: options.bool("public").unwrap_or_default(),
        bypass_auth: options.bool("bypass_auth").unwrap_or_default(),
        tailscale_funnel: options.bool("tailscale_funnel").unwrap_or_default(),
    }
}

/// Which kind it is: `Some(None)` for a process. `None` where it is nothing, or two things at once.
fn kind_of<'k>(
    raw: &Raw,
    kinds: &[&'k dyn Kind],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Option<&'k dyn Kind>> {
    let has = |key: &str| raw.options.get(key).is_some_and(|value| *value != Value::Unit);
    let named: Vec<&'k dyn Kind> = kinds.iter().copied().filter(|kind| has(kind.option())).collect();
    let problem = |message: String| bad(&raw.source, format!("service `{}`: {message}", raw.name));
    match named[..] {
        [] if has("command") => Some(None),
        [] => {
            let ways: Vec<String> =
                kinds.iter().map(|it| format!("`{}` for a {}", it.option(), it.name())).collect();
            let ways =
                ways.into_iter().chain(["`command` for a program that hob runs and watches".to_owned()]);
            let hint = format!("give {}", ways.collect::<Vec<_>>().join(", or "));
            diagnostics.push(problem("it has nothing to run".to_owned()).hint(hint));
            None
        }
        [one] => Some(Some(one)),
        [one, other, ..] => {
            let message = format!("it has both `{}` and `{}`", one.option(), other.option());
            let hint = format!("it is a {} or a {}: leave one out", one.name(), other.name());
            diagnostics.push(problem(message).hint(hint));
            None
        }
    }
}

/// Reports options that only make sense for another kind, instead of calling them unknown.
fn refuse_other_kinds(
    raw: &mut Raw,
    kind: Option<&dyn Kind>,
    own: &BTreeSet<&str>,
    kinds: &[&dyn Kind],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Value::Map(map) = &mut raw.options else { return };
    let what = kind.map_or(super::PROCESS, Kind::name);
    let process = PROCESS.into_iter().map(|key| (key, super::PROCESS));
    let others = kinds.iter().flat_map(|kind| kind.options().into_iter().map(|key| (key, kind.name())));
    let mut seen = BTreeSet::new();
    for (key, other) in process.chain(others) {
        if own.contains(key) || COMMON.contains(&key) || !seen.insert(key) || map.remove(key).is_none() {
            continue;
        }
        let message =
            format!("service `{}`: `{key}` is an option of a {other}, and this is a {what}", raw.name);
        diagnostics
            .push(Diagnostic::error(Code::UnknownOption, message).at(raw.source.clone()).hint("remove it"));
    }
}

/// Whether services of a kind can be looked at through a gate; reports it where not.
fn has_gate(options: &mut Options<'_>, key: &str, gate: &Gate, kind: Option<&dyn Kind>) -> bool {
    let fits = kind.map_or(*gate != Gate::Healthy, |kind| kind.has_gate(gate));
    if !fits {
        let what = kind.map_or(super::PROCESS, Kind::name);
        options.report(Code::BadDeclaration, format!("`{key}`: {gate} says nothing about a {what}"));
    }
    fits
}

/// Whether services of a kind have a newer version somewhere; reports it where not.
fn may_update(options: &mut Options<'_>, kind: Option<&dyn Kind>) -> bool {
    let can = kind.is_some_and(Kind::has_updates);
    if !can {
        let what = kind.map_or(super::PROCESS, Kind::name);
        let message = format!("`update`: a {what} has no image that a registry could have a newer one of");
        options.report_with(Code::BadDeclaration, message, "remove it");
    }
    can
}

/// `network: via(service)`; any other network is for the kind to read.
fn read_via(options: &mut Options<'_>, kind: Option<&dyn Kind>) -> Option<String> {
    let network = options.peek("network")?;
    let via = network.get("network").and_then(Value::as_str) == Some("via");
    let of = network.get("of").and_then(Value::as_str).map(str::to_owned);
    match kind {
        Some(kind) if via && kind.shares_network() => {
            options.take("network");
            of
        }
        Some(kind) if !via && kind.options().contains("network") => None,
        _ => {
            options.take("network");
            let hint = "only containers have networks of their own";
            options.report_with(Code::BadDeclaration, "`network` cannot be chosen for it", hint);
            None
        }
    }
}

fn kept(
    kind: &dyn Kind,
    asked: &Asked<'_>,
    secrets: Vec<SecretUse>,
    options: &mut Options<'_>,
) -> Option<Body> {
    match kind.read(asked) {
        Ok(fields) => {
            kind.warnings(&fields).into_iter().for_each(|warning| options.warn(warning));
            Some(Body::Kept(Kept { kind: kind.name().to_owned(), fields, secrets }))
        }
        Err(mistakes) => {
            for mistake in mistakes {
                match mistake.hint {
                    Some(hint) => options.report_with(Code::UnknownOption, mistake.message, hint),
                    None => options.report(Code::UnknownOption, mistake.message),
                }
            }
            None
        }
    }
}

/// A process, and its working directory.
fn process(
    options: &mut Options<'_>,
    directory: &Path,
    secrets: Vec<SecretUse>,
    replica: Option<&Replica>,
) -> (Option<Body>, PathBuf) {
    let workdir = directory.join(options.text("workdir").unwrap_or_default());
    let command = read_command(options);
    let mut env = read_env(options);
    env.extend(replica.map(|replica| (REPLICA_VARIABLE.to_owned(), replica.number.to_string())));
    let process = Process {
        command: command.clone().unwrap_or_default(),
        env,
        user: options.read("user", "a name or a number of the user database", user),
        workdir: workdir.clone(),
        secrets,
    };
    (command.map(|_| Body::Process(process)), workdir)
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn read_command(options: &mut Options<'_>) -> Option<Vec<String>> {
    let args = options.read("args", "an array of texts", texts);
    let value = options.take("command")?;
    let Some(mut command) = command(&value) else {
        options.wrong("command", COMMAND, &value);
        return None;
    };
    command.extend(args.unwrap_or_default());
    Some(command)
}

/// An array, or a text that is split as a shell would (and not handed to one).
pub(super) fn command(value: &Value) -> Option<Vec<String>> {
    let words = match value {
        Value::Array(_) => texts(value)?,
        one => shlex::split(&text(one)?)?,
    };
    (words.first().is_some_and(|program| !program.is_empty())).then_some(words)
}

fn user(value: &Value) -> Option<String> {
    match value {
        Value::Int(id) => u32::try_from(*id).ok().map(|id| id.to_string()),
        other => text(other).filter(|name| !name.is_empty()),
    }
}

fn read_env(options: &mut Options<'_>) -> BTreeMap<String, String> {
    let Some(value) = options.take("env") else {
        return BTreeMap::new();
    };
    let Value::Map(map) = &value else {
        options.wrong("env", "a map of variables", &value);
        return BTreeMap::new();
    };
    if map.len() > VARIABLES_MAX {
        options.report(Code::UnknownOption, format!("`env`: more than {VARIABLES_MAX} variables"));
    }
    let mut env = BTreeMap::new();
    for (name, value) in map.iter().take(VARIABLES_MAX) {
        if name.is_empty() || name.contains(['=', '\0']) {
            options.report(Code::UnknownOption, format!("`env`: `{name}` cannot be the name of a variable"));
        } else if name.starts_with(OWN_VARIABLES) {
            let message = format!("`env`: `{name}` is not yours to set");
            options.report_with(
                Code::BadDeclaration,
                message,
                "by variables that begin with HOB_ hob finds its processes again",
            );
        } else if let Some(value) = variable(value) {
            env.insert(name.clone(), value);
        } else {
            options.wrong(&format!("env.{name}"), "a text, a number, or true or false", value);
        }
    }
    env
}

fn variable(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        other => text(other),
    }
}

fn read_restart(options: &mut Options<'_>, gate: &Gate) -> Restart {
    let default = if *gate == Gate::Completed { Policy::OnFailure } else { Policy::Always };
    let restart = Restart { policy: default, ..Restart::default() };
    let names = "\"always\", \"on-failure\", \"never\" or a map with `policy`, `backoff` and `max`";
    let Some(value) = options.take("restart") else {
        return restart;
    };
    let Value::Map(map) = &value else {
        let policy = Policy::ALL.iter().find(|(name, _)| value.as_str() == Some(name));
        if policy.is_none() {
            options.wrong("restart", names, &value);
        }
        return Restart { policy: policy.map_or(default, |(_, policy)| *policy), ..restart };
    };
    let mut found = Vec::new();
    let inner = Raw { options: Value::Map(map.clone()), closures: Vec::new(), ..options.as_raw("restart") };
    let mut inner = Options::open(&inner, &["policy", "backoff", "max"], &mut found);
    let read = Restart {
        policy: inner.choice("policy", &Policy::ALL).unwrap_or(default),
        backoff: inner.duration("backoff").unwrap_or(restart.backoff),
        backoff_max: inner.duration("max").unwrap_or(restart.backoff_max),
    };
    options.adopt(found);
    read
}
