//! Gates.

use std::path::Path;

use hob_model::{Code, Value};

use super::Gate;
use super::options::{Options, port, text};
use super::service::{COMMAND, command};

/// The gate that option `key` has; what is wrong with it is reported. `service_port` is asked where it names none.
pub(super) fn read_gate(
    options: &mut Options<'_>,
    key: &str,
    value: &Value,
    service_port: Option<u16>,
    workdir: &Path,
) -> Option<Gate> {
    let Some(kind) = value.get("gate").and_then(Value::as_str) else {
        options.wrong(key, "a gate such as tcp(8080), http(\"/health\") or completed()", value);
        return None;
    };
    let fields = gate_fields(kind);
    if let Value::Map(map) = value {
        for other in map.keys().filter(|it| *it != "gate" && !fields.contains(&it.as_str())) {
            options.report(Code::UnknownOption, format!("`{key}`: {kind}(…) has no option `{other}`"));
        }
    }
    let field = |name: &str| value.get(name).unwrap_or(&Value::Unit);
    if kind == "http" && *field("port") == Value::Unit && service_port.is_none() {
        let hint = "give the service a `port`, or this gate: http(\"/health\", #{ port: 8080 })";
        let message = format!("`{key}`: http(…) does not know which port to ask");
        options.report_with(Code::BadDeclaration, message, hint);
        return None;
    }
    let mut wrong = |name: &str, expected: &str| {
        options.wrong(&format!("{key}: {kind}, {name}"), expected, field(name));
        None
    };
    let own_port = || match field("port") {
        Value::Unit => service_port,
        given => port(given),
    };
    match kind {
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
        "healthy" => Some(Gate::Healthy),
        "completed" => Some(Gate::Completed),
        _ => None,
    }
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
