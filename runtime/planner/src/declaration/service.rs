//! Services.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hob_model::{Code, Diagnostic, Value};

use super::options::{Options, port, text, texts};
use super::{
    Exposure, Gate, Process, READY_TIMEOUT, Raw, Readiness, STOP_TIMEOUT, Service, Surroundings, bad,
};
use crate::restart::{Policy, Restart};

/// The options of a service.
const KNOWN: [&str; 18] = [
    "tier",
    "host",
    "command",
    "args",
    "env",
    "port",
    "user",
    "workdir",
    "needs",
    "wants",
    "ready",
    "ready_timeout",
    "restart",
    "stop_timeout",
    "stop_on_exit",
    "public",
    "bypass_auth",
    "tailscale_funnel",
];

/// Options of services that this version cannot honour: refused by name, because a limit or a volume that is passed
/// over would look as if it held.
const LATER: [&str; 15] = [
    "backup", "devices", "gpu", "health", "hooks", "image", "labels", "limits", "network", "ports",
    "replicas", "shm_size", "unit", "update", "volumes",
];

/// The most variables of one service.
const VARIABLES_MAX: usize = 1_000;

/// How the names of variables begin that hob gives to services itself.
const OWN_VARIABLES: &str = "HOB_";

/// A command as text or list.
const COMMAND: &str = "a text or an array of texts such as [\"caddy\", \"run\"]";

/// Reads a service; `None` where it lacks what it cannot be without.
pub(super) fn read(
    raw: &Raw,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Service> {
    let mut raw = raw.clone();
    let later = refuse_later(&mut raw, diagnostics);
    let mut options = Options::open(&raw, &KNOWN, diagnostics);
    let workdir = options.text("workdir").map_or_else(PathBuf::new, PathBuf::from);
    let workdir = surroundings.directory.join(workdir);
    let command = read_command(&mut options, later);
    let port = options.port("port");
    let gate = read_gate(&mut options, port, &workdir);
    let restart_default = match gate {
        Gate::Completed => Policy::OnFailure,
        _ => Policy::Always,
    };
    let service = Service {
        name: raw.name.clone(),
        tier: options.text("tier"),
        host: options.text("host"),
        port,
        needs: sorted(options.texts("needs")),
        wants: sorted(options.texts("wants")),
        ready: Readiness { gate, timeout: options.duration("ready_timeout").unwrap_or(READY_TIMEOUT) },
        restart: read_restart(&mut options, restart_default),
        stop_timeout: options.duration("stop_timeout").unwrap_or(STOP_TIMEOUT),
        stop_on_exit: options.bool("stop_on_exit"),
        exposure: Exposure {
            public: options.bool("public").unwrap_or_default(),
            bypass_auth: options.bool("bypass_auth").unwrap_or_default(),
            tailscale_funnel: options.bool("tailscale_funnel").unwrap_or_default(),
        },
        process: Process {
            command: command.clone().unwrap_or_default(),
            env: read_env(&mut options),
            user: options.read("user", "a name or a number of the user database", user),
            workdir,
        },
        source: raw.source,
    };
    if service.exposure.bypass_auth && !service.exposure.public {
        diagnostics.push(Diagnostic {
            level: hob_model::Level::Warning,
            ..bad(
                &service.source,
                format!(
                    "service `{}` has `bypass_auth` and is not `public`, so nothing is bypassed",
                    raw.name
                ),
            )
        });
    }
    command.map(|_| service)
}

fn sorted(names: Option<Vec<String>>) -> Vec<String> {
    let mut names = names.unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    names
}

/// Refuses what is not there yet; whether that was the body of the service.
fn refuse_later(raw: &mut Raw, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Value::Map(map) = &mut raw.options else {
        return false;
    };
    let mut is_body = false;
    for key in LATER {
        if map.remove(key).is_none() {
            continue;
        }
        raw.closures.retain(|path| path != key && !path.starts_with(&format!("{key}.")));
        let message = format!("service `{}`: `{key}` is not supported by this version of hob", raw.name);
        let hint = match key {
            "image" | "unit" => {
                is_body = true;
                "containers and systemd units are not there yet; services are processes that hob supervises: \
                 give `command`"
            }
            "ports" => "a process listens by itself: give the one that matters as `port`",
            "volumes" => "a process sees the files of the machine: remove it",
            _ => "remove it: hob refuses what it cannot keep",
        };
        diagnostics.push(bad(&raw.source, message).hint(hint));
    }
    is_body
}

fn read_command(options: &mut Options<'_>, has_other_body: bool) -> Option<Vec<String>> {
    let args = options.read("args", "an array of texts", texts);
    let Some(value) = options.take("command") else {
        if !has_other_body {
            let hint = "give `command`, the program that hob is to run and watch";
            options.report_with(Code::BadDeclaration, "it has nothing to run", hint);
        }
        return None;
    };
    let command = command(&value);
    let Some(mut command) = command else {
        options.wrong("command", COMMAND, &value);
        return None;
    };
    command.extend(args.unwrap_or_default());
    Some(command)
}

/// An array, or a text that is split as a shell would (and not handed to one).
fn command(value: &Value) -> Option<Vec<String>> {
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

fn read_restart(options: &mut Options<'_>, default: Policy) -> Restart {
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

fn read_gate(options: &mut Options<'_>, service_port: Option<u16>, workdir: &std::path::Path) -> Gate {
    let default = service_port.map_or(Gate::Alive, |port| Gate::Tcp { port });
    let Some(value) = options.take("ready") else {
        return default;
    };
    let Some(kind) = value.get("gate").and_then(Value::as_str) else {
        options.wrong("ready", "a gate such as tcp(8080), http(\"/health\") or completed()", &value);
        return default;
    };
    let fields = gate_fields(kind);
    if let Value::Map(map) = &value {
        for key in map.keys().filter(|key| *key != "gate" && !fields.contains(&key.as_str())) {
            options.report(Code::UnknownOption, format!("`ready`: {kind}(…) has no option `{key}`"));
        }
    }
    let field = |key: &str| value.get(key).unwrap_or(&Value::Unit);
    if kind == "http" && *field("port") == Value::Unit && service_port.is_none() {
        let hint = "give the service a `port`, or this gate: http(\"/health\", #{ port: 8080 })";
        options.report_with(Code::BadDeclaration, "`ready`: http(…) does not know which port to ask", hint);
        return default;
    }
    let mut wrong = |key: &str, expected: &str| {
        options.wrong(&format!("ready: {kind}, {key}"), expected, field(key));
        None
    };
    let own_port = || match field("port") {
        Value::Unit => service_port,
        given => port(given),
    };
    let gate = match kind {
        "tcp" => {
            own_port().map(|port| Gate::Tcp { port }).or_else(|| wrong("port", "a port from 1 to 65535"))
        }
        "http" => http_gate(own_port(), field("path"), field("status")).or_else(|| {
            wrong("path", "a path that begins with `/`, a `port`, and a `status` from 100 to 599")
        }),
        "exec" => command(field("command"))
            .map(|command| Gate::Exec { command })
            .or_else(|| wrong("command", COMMAND)),
        "log" => text(field("pattern"))
            .filter(|pattern| regex::Regex::new(pattern).is_ok())
            .map(|pattern| Gate::Log { pattern })
            .or_else(|| wrong("pattern", "a regular expression")),
        "file" => text(field("path"))
            .map(|path| Gate::File { path: workdir.join(path) })
            .or_else(|| wrong("path", "a path")),
        "completed" => Some(Gate::Completed),
        _ => {
            let hint = "a process is looked at with tcp, http, exec, log, file or completed";
            options.report_with(Code::BadDeclaration, format!("{kind}() says nothing about a process"), hint);
            None
        }
    };
    gate.unwrap_or(default)
}

fn gate_fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "tcp" => &["port"],
        "http" => &["path", "status", "port"],
        "exec" => &["command"],
        "log" => &["pattern"],
        "file" => &["path"],
        _ => &[],
    }
}

fn http_gate(port: Option<u16>, path: &Value, status: &Value) -> Option<Gate> {
    // What would end the request line or the path does not get into a request.
    let is_path =
        |path: &String| path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c == '#');
    let path = text(path).filter(is_path)?;
    let status = match status {
        Value::Unit => None,
        given => Some(given.as_int().and_then(|s| u16::try_from(s).ok()).filter(|s| (100..600).contains(s))?),
    };
    port.map(|port| Gate::Http { port, path, status })
}
