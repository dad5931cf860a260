//! Secrets that services use: variables of their environment that are secrets, or name a file with one.

use std::collections::BTreeMap;

use hob_model::secret::{is_credential, is_name};
use hob_model::{Code, Diagnostic, Secret, Value};

use super::options::Options;
use super::service::OWN_VARIABLES;
use super::{Body, Kind, Raw, bad};

/// The key under which plans and the journal have the secrets of a service.
pub const SECRETS_FIELD: &str = "env_secrets";
/// The key of what `secret_file(name)` returns.
const FILE_KEY: &str = "secret_file";

/// A secret in the environment of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The variable.
    pub variable: String,
    /// What is in it, or in the file that it names.
    pub what: SecretValue,
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretValue {
    /// The secret itself, or a text with secrets in it.
    Text(Secret),
    /// The path of a file with the secret.
    File {
        /// The name of the file: that of the secret, unless there is `content`.
        name: String,
        /// What is in it, where that is a text with secrets in it and not the secret of that name.
        content: Option<Secret>,
        /// Who owns the file: a name or a number of the user database; whom the service runs as when absent.
        owner: Option<String>,
    },
}

/// The signal that has a service read its files with secrets again: what runs need not be started anew for a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadSignal {
    /// SIGHUP
    Hup,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
}

impl ReloadSignal {
    const ALL: [(&str, Self); 3] = [("SIGHUP", Self::Hup), ("SIGUSR1", Self::Usr1), ("SIGUSR2", Self::Usr2)];

    /// Its name: `SIGHUP`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
        }
    }
}

impl SecretUse {
    /// The names of the secrets in it.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match &self.what {
            SecretValue::Text(secret) | SecretValue::File { content: Some(secret), .. } => {
                secret.references().map(|it| it.name.as_str()).collect()
            }
            SecretValue::File { name, content: None, .. } => vec![name],
        }
    }

    fn field(&self) -> Value {
        match &self.what {
            SecretValue::Text(secret) => Value::Secret(secret.clone()),
            SecretValue::File { name, content, owner } => {
                let file = [("file", Value::from(name.as_str())), ("owner", Value::from(owner.clone()))];
                let content = content.clone().map(|content| ("content", Value::Secret(content)));
                Value::map(file.into_iter().chain(content))
            }
        }
    }
}

/// The secrets of a service as plans show them; nothing where there are none.
#[must_use]
pub(super) fn fields(uses: &[SecretUse]) -> Option<(String, Value)> {
    let all: BTreeMap<String, Value> = uses.iter().map(|it| (it.variable.clone(), it.field())).collect();
    (!all.is_empty()).then(|| (SECRETS_FIELD.to_owned(), Value::Map(all)))
}

/// Takes the secrets out of `env`, and what a unit loads as `credentials`; what is left is plain.
pub(super) fn take(raw: &mut Raw, credentials: bool, diagnostics: &mut Vec<Diagnostic>) -> Vec<SecretUse> {
    let mut uses = if credentials { take_credentials(raw, diagnostics) } else { Vec::new() };
    let Value::Map(options) = &mut raw.options else { return uses };
    let Some(Value::Map(env)) = options.get_mut("env") else { return uses };
    let is_secret = |value: &Value| matches!(value, Value::Secret(_)) || value.get(FILE_KEY).is_some();
    let names: Vec<String> =
        env.iter().filter(|(_, value)| is_secret(value)).map(|(name, _)| name.clone()).collect();
    for variable in names {
        let problem = |message: String| bad(&raw.source, format!("service `{}`: {message}", raw.name));
        if variable.is_empty() || variable.contains(['=', '\0']) || variable.starts_with(OWN_VARIABLES) {
            diagnostics.push(problem(format!("`env`: `{variable}` cannot be the name of a variable")));
        }
        match env.remove(&variable) {
            Some(Value::Secret(secret)) => {
                let message = format!(
                    "service `{}`: `env.{variable}` has a secret, which whoever may inspect the service can read",
                    raw.name
                );
                let warning = Diagnostic::warning(Code::BadDeclaration, message).at(raw.source.clone());
                diagnostics.push(warning.hint(format!(
                    "many programs read a file instead: `{variable}_FILE: secret_file(\"…\")`"
                )));
                uses.push(SecretUse { variable, what: SecretValue::Text(secret) });
            }
            Some(value) => match file(&value) {
                Ok(what) => uses.push(SecretUse { variable, what }),
                Err(mistake) => diagnostics.push(problem(format!("`env.{variable}`: {mistake}"))),
            },
            None => {}
        }
    }
    uses
}

/// What `secret_file(name, options)` says; or what is wrong with it.
fn file(value: &Value) -> Result<SecretValue, String> {
    let name = value.get(FILE_KEY).and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_name(&name) {
        return Err(format!("`{name}` is no name of a secret"));
    }
    let options = match value {
        Value::Map(map) => map.keys().map(String::as_str).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    if let Some(unknown) = options.into_iter().find(|key| ![FILE_KEY, "owner", "content"].contains(key)) {
        return Err(format!("`secret_file` has no option `{unknown}`; there are `content` and `owner`"));
    }
    let content = match value.get("content") {
        None | Some(Value::Unit) => None,
        Some(Value::Secret(secret)) => Some(secret.clone()),
        Some(other) => {
            let found = other.type_name();
            return Err(format!("`content` is a text with secrets in it (`secrets::fill`), found {found}"));
        }
    };
    let owner = match value.get("owner") {
        None | Some(Value::Unit) => None,
        Some(Value::Int(id)) => Some(id.to_string()),
        Some(Value::String(name)) => Some(name.clone()),
        Some(other) => {
            let found = other.type_name();
            return Err(format!("`owner` is a name or a number of the user database, found {found}"));
        }
    };
    Ok(SecretValue::File { name, content, owner })
}

/// `reload: "SIGHUP"`, for services whose secrets are all in files.
pub(super) fn read_reload(
    options: &mut Options<'_>,
    kind: Option<&dyn Kind>,
    body: Option<&Body>,
) -> Option<ReloadSignal> {
    let signal = options.choice("reload", &ReloadSignal::ALL)?;
    let (what, uses) = (kind.map_or(super::PROCESS, Kind::name), body?.secrets());
    let variable = uses.iter().find(|it| matches!(it.what, SecretValue::Text(_)));
    let (message, hint) = match variable {
        _ if !kind.is_none_or(Kind::takes_signals) => {
            (format!("a {what} gets its secrets when it starts"), "remove it: it is started anew")
        }
        Some(variable) => {
            let name = &variable.variable;
            let message =
                format!("`env.{name}` has a secret, and the environment of what runs does not change");
            (message, "hand it over in a file: secret_file(\"…\")")
        }
        None if uses.is_empty() => ("it uses no secret".to_owned(), "remove it"),
        None => return Some(signal),
    };
    options.report_with(Code::BadDeclaration, format!("`reload`: {message}"), hint);
    None
}

/// `credentials: #{ db: secret_file("postgres") }`: files in any case.
fn take_credentials(raw: &mut Raw, diagnostics: &mut Vec<Diagnostic>) -> Vec<SecretUse> {
    let Value::Map(options) = &mut raw.options else { return Vec::new() };
    let problem = |message: String| bad(&raw.source, format!("service `{}`: {message}", raw.name));
    let map = match options.remove("credentials") {
        None | Some(Value::Unit) => return Vec::new(),
        Some(Value::Map(map)) => map,
        Some(other) => {
            let found = other.type_name();
            diagnostics.push(problem(format!("`credentials`: expected a map of secrets, found {found}")));
            return Vec::new();
        }
    };
    let mut uses = Vec::new();
    for (credential, value) in map {
        let name = match &value {
            Value::Secret(secret) => secret.single().map(|it| it.name.clone()),
            other => other.get(FILE_KEY).and_then(Value::as_str).map(str::to_owned),
        };
        match name.filter(|name| is_name(name)) {
            Some(name) if is_credential(&credential) => {
                let what = SecretValue::File { name, content: None, owner: None };
                uses.push(SecretUse { variable: credential, what });
            }
            Some(_) => {
                diagnostics.push(problem(format!("`credentials`: `{credential}` cannot be the name of one")))
            }
            None => {
                let message =
                    format!("`credentials.{credential}`: expected a secret, found {}", value.type_name());
                diagnostics.push(problem(message).hint("write secret_file(\"NAME\")"));
            }
        }
    }
    uses
}
