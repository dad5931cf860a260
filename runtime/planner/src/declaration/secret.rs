//! Secrets that services use: variables of their environment that are secrets, or name a file with one.

use std::collections::BTreeMap;

use hob_model::secret::is_name;
use hob_model::{Code, Diagnostic, Secret, Value};

use super::{Raw, bad};

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
        /// The name of the secret.
        name: String,
        /// Who owns the file: a name or a number of the user database; whom the service runs as when absent.
        owner: Option<String>,
    },
}

impl SecretUse {
    /// The names of the secrets in it.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match &self.what {
            SecretValue::Text(secret) => secret.references().map(|it| it.name.as_str()).collect(),
            SecretValue::File { name, .. } => vec![name],
        }
    }

    fn field(&self) -> Value {
        match &self.what {
            SecretValue::Text(secret) => Value::Secret(secret.clone()),
            SecretValue::File { name, owner } => {
                Value::map([("file", Value::from(name.as_str())), ("owner", Value::from(owner.clone()))])
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
        if variable.is_empty() || variable.contains(['=', '\0']) || variable.starts_with("HOB_") {
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
            Some(file) => {
                let name = file.get(FILE_KEY).and_then(Value::as_str).unwrap_or_default().to_owned();
                if !is_name(&name) {
                    diagnostics.push(problem(format!("`env.{variable}`: `{name}` is no name of a secret")));
                    continue;
                }
                let owner = match file.get("owner") {
                    None | Some(Value::Unit) => None,
                    Some(Value::Int(id)) => Some(id.to_string()),
                    Some(Value::String(name)) => Some(name.clone()),
                    Some(other) => {
                        let found = other.type_name();
                        diagnostics.push(problem(format!(
                            "`env.{variable}`: `owner` is a name or a number of the user database, found {found}"
                        )));
                        None
                    }
                };
                uses.push(SecretUse { variable, what: SecretValue::File { name, owner } });
            }
            None => {}
        }
    }
    uses
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
        let is_credential = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match name.filter(|name| is_name(name)) {
            Some(name) if !credential.is_empty() && credential.chars().all(is_credential) => {
                uses.push(SecretUse { variable: credential, what: SecretValue::File { name, owner: None } });
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
