//! Private keys and passphrases: where a command gets them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic};
use hob_std_secrets::Kind as Mistake;
use hob_std_secrets::age::{self, Keyring, Passphrases, SecretString};
use hob_std_secrets::live::{self, Places};
use zeroize::Zeroizing;

use super::args::{KeyArgs, PassphraseArgs};
use super::failure;
use crate::context::{Context, Exit, Failure, Outcome, home};

/// How long a person may take to find a key and to touch it.
const PERSON_TIME: Duration = Duration::from_secs(180);

/// Asks at the terminal.
struct Terminal;

impl Passphrases for Terminal {
    fn ask(&self, what: &str) -> Option<SecretString> {
        // It opens the terminal itself, also when nobody looks at it: only who sees hob can answer.
        if !std::io::stdin().is_terminal() && !std::io::stderr().is_terminal() {
            return None;
        }
        rpassword::prompt_password(format!("Passphrase of {what}: ")).ok().map(SecretString::from)
    }

    fn tell(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn plugin_time(&self) -> Duration {
        PERSON_TIME
    }
}

/// Has been told.
struct Told(Zeroizing<String>);

impl Passphrases for Told {
    fn ask(&self, _what: &str) -> Option<SecretString> {
        Some(SecretString::from(self.0.to_string()))
    }

    fn tell(&self, message: &str) {
        Terminal.tell(message);
    }

    fn plugin_time(&self) -> Duration {
        PERSON_TIME
    }
}

/// Where passphrases come from.
pub(super) fn passphrases(args: &PassphraseArgs) -> Result<Arc<dyn Passphrases>, Failure> {
    let Some(file) = &args.passphrase_file else { return Ok(Arc::new(Terminal)) };
    let content = live::read(file).map_err(|error| failure(error, None))?;
    let text = std::str::from_utf8(&content)
        .map_err(|_| Failure::usage(format!("{} is no text", file.display())))?;
    Ok(Arc::new(Told(Zeroizing::new(text.lines().next().unwrap_or("").to_owned()))))
}

/// A passphrase for a new file; at a terminal it is asked twice.
pub(super) fn new_passphrase(args: &PassphraseArgs) -> Result<SecretString, Failure> {
    use hob_std_secrets::age::ExposeSecret;
    let asked = passphrases(args)?;
    let nobody = || {
        Failure::usage(
            "a passphrase is needed, and there is no terminal to ask at; name a file with --passphrase-file",
        )
    };
    let first = asked.ask("the new file").ok_or_else(nobody)?;
    if first.expose_secret().is_empty() {
        return Err(Failure::usage("the passphrase is empty"));
    }
    if args.passphrase_file.is_none() {
        let second = asked.ask("the new file, again").ok_or_else(nobody)?;
        if first.expose_secret() != second.expose_secret() {
            return Err(Failure::usage("the two passphrases differ"));
        }
    }
    Ok(first)
}

/// The identities that were named, or else those in the usual places.
#[allow(clippy::disallowed_methods)] // the rim: the caller's environment is read only by name
pub(super) fn keyring(args: &KeyArgs) -> Result<Keyring, Failure> {
    let passphrases = passphrases(&args.passphrases)?;
    if !args.identity.is_empty() {
        if args.identity.iter().any(|file| looks_like_a_key(file)) {
            return Err(Failure::usage(
                "--identity takes a file: a private key on the command line can be seen by everybody on this machine",
            ));
        }
        return Places::named(&args.identity, &passphrases).map_err(no_key);
    }
    let variable = |name: &str| std::env::var(name).ok();
    let places = Places { variable: &variable, home: home(), root: "/".into() };
    Ok(places.usual(&passphrases))
}

/// A file that was named as a key and is none: a mistake of whoever named it, and no damage.
fn no_key(error: hob_std_secrets::Error) -> Failure {
    let kind = if error.kind == Mistake::Malformed { Mistake::Rules } else { error.kind };
    failure(hob_std_secrets::Error { kind, ..error }, None)
}

/// `hob secrets keygen`
pub(super) fn generate(context: &Context, to: Option<&Path>) -> Outcome {
    if let Some(file) = to.filter(|file| file.exists()) {
        let message = format!("{} is there already, and a private key is not overwritten", file.display());
        return Err(Diagnostic::error(Code::SecretFile, message)
            .hint("name another file with --output")
            .into());
    }
    let (text, public) = age::generate(&super::now());
    super::give(text.as_bytes(), to, true)?;
    context.say(&format!("its recipient: {public}"));
    Ok(Exit::Done)
}

/// `hob secrets recipient FILE…`
pub(super) fn recipients(context: &Context, files: &[PathBuf], args: &PassphraseArgs) -> Outcome {
    let passphrases = passphrases(args)?;
    let mut all = Vec::new();
    for file in files {
        let content = if file == Path::new("-") { live::read_input() } else { live::read(file) };
        let content = content.map_err(|error| failure(error, None))?;
        let lines = std::str::from_utf8(&content).unwrap_or_default().lines();
        let public: Vec<String> = lines.flat_map(age::recipients_of_public).collect();
        if public.is_empty() {
            let mut keyring = Keyring::new(Arc::clone(&passphrases));
            keyring.add(&content, &file.display().to_string()).map_err(no_key)?;
            all.extend_from_slice(keyring.publics());
        } else {
            all.extend(public);
        }
    }
    if context.global.json {
        context.print_json(&all.into());
    } else {
        all.iter().for_each(|recipient| context.print_line(recipient));
    }
    Ok(Exit::Done)
}

fn looks_like_a_key(file: &Path) -> bool {
    let text = file.to_string_lossy();
    text.starts_with("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") || text.starts_with("-----BEGIN")
}
