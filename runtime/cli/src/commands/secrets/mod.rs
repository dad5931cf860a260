//! `hob secrets …`: age files, SOPS files and agenix directories.

pub(crate) mod args;
mod edit;
mod homelab;
mod keys;
mod lint;
mod rules;
mod target;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hob_model::{Code, Diagnostic, Source};
use hob_std_secrets::age::{self, Keyring};
use hob_std_secrets::agenix::Rule;
use hob_std_secrets::sops::{self, Format};
use hob_std_secrets::{Error, Kind as Mistake, Plain, live};

use crate::context::{Context, Exit, Failure, Outcome};
use args::{KeyArgs, KindArgs, Output, RecipientArgs, SecretsCommand};

/// `hob secrets …`
pub(crate) fn dispatch(context: &Context, command: SecretsCommand) -> Outcome {
    // No core dump, and no debugger of another process of this user: where the system does not allow it, it is as ever.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    match command {
        SecretsCommand::Decrypt { file, format, output, kind, keys } => {
            let format = if context.global.json { Output::Json } else { format };
            decrypt(&file, format, output.as_deref(), &kind, &keys)
        }
        SecretsCommand::Encrypt {
            file,
            in_place,
            output,
            armor,
            passphrase,
            kind,
            recipients,
            passphrases,
        } => {
            let to = if in_place { Some(file.as_path()) } else { output.as_deref() };
            let asked = Encryption { armor, passphrase, passphrases: &passphrases, recipients: &recipients };
            encrypt(&file, to, &kind, &asked)
        }
        SecretsCommand::Edit { file, kind, recipients, keys } => {
            edit::edit(context, &file, &kind, &recipients, &keys)
        }
        SecretsCommand::Rekey { file, rotate, kind, recipients, keys } => {
            let keyring = keys::keyring(&keys)?;
            for file in &file {
                rekey(context, file, rotate, &kind, &recipients, &keyring)?;
            }
            Ok(Exit::Done)
        }
        SecretsCommand::Lint { file, homelab, kind, keys } if file.is_empty() => {
            lint::homelab(context, &homelab, &kind, &keys)
        }
        SecretsCommand::Lint { file, kind, keys, .. } => lint::lint(context, &file, &kind, &keys),
        SecretsCommand::List { homelab } => homelab::list(context, &homelab),
        SecretsCommand::Rotate(args) => homelab::rotate(context, &args),
        SecretsCommand::Keygen { output } => keys::generate(context, output.as_deref()),
        SecretsCommand::Recipient { file, passphrases } => keys::recipients(context, &file, &passphrases),
    }
}

/// An error with the file that it is about.
fn failure(error: Error, file: Option<&Path>) -> Failure {
    let code = match error.kind {
        Mistake::NoIdentity => Code::SecretLocked,
        Mistake::Tampered | Mistake::Malformed | Mistake::TooLarge => Code::SecretDamaged,
        Mistake::Rules | Mistake::Unsupported => Code::SecretRules,
        Mistake::Io => Code::SecretFile,
    };
    let message = match (file, error.place) {
        (None, _) => error.message,
        (Some(file), None) => format!("{}: {}", file.display(), error.message),
        // The line itself is not shown: it may hold a secret.
        (Some(file), Some((line, column))) => {
            format!("{}:{line}:{column}: {}", file.display(), error.message)
        }
    };
    Diagnostic::error(code, message).maybe_hint(error.hint).into()
}

/// As [`failure`], for a plain file: one that is not well-formed is not damaged.
fn failure_of_plain(error: Error, file: &Path) -> Failure {
    let kind = if error.kind == Mistake::Malformed { Mistake::Rules } else { error.kind };
    failure(Error { kind, ..error }, Some(file))
}

/// As [`failure`] for a file without secrets: its line is shown.
fn failure_of(error: Error, file: &Path, text: &str) -> Failure {
    let Some((line, column)) = error.place else { return failure(error, Some(file)) };
    let name = file.display().to_string();
    let mut failure = failure(error, None);
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let source = Source { file: name.as_str().into(), line: number(line), column: number(column) };
    for diagnostic in &mut failure.diagnostics {
        diagnostic.spans.push(hob_model::Span::point(source.clone()));
    }
    failure.sources.insert(name, Arc::from(text));
    failure
}

/// This moment in RFC 3339, to the second.
#[allow(clippy::disallowed_methods)] // the rim: the clock of the machine
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn read(file: &Path) -> Result<Plain, Failure> {
    live::read(file).map_err(|error| failure(error, None))
}

/// To a file that its owner alone may read, or to standard output.
fn give(content: &[u8], to: Option<&Path>, private: bool) -> Outcome {
    match to {
        Some(file) => live::write(file, content, private).map_err(|error| failure(error, None))?,
        None => {
            let mut out = std::io::stdout().lock();
            // A reader that went away is no error of ours.
            let _ = out.write_all(content).and_then(|()| out.flush());
        }
    }
    Ok(Exit::Done)
}

fn decrypt(file: &Path, output: Output, to: Option<&Path>, kind: &KindArgs, keys: &KeyArgs) -> Outcome {
    let content = read(file)?;
    let keyring = keys::keyring(keys)?;
    let failed = |error| failure(error, Some(file));
    match (target::kind_of(file, &content, kind.kind), output) {
        (None, Output::Source) => give(&age::open(&content, &keyring).map_err(failed)?, to, true),
        (None, Output::Json) => {
            let plain = age::open(&content, &keyring).map_err(failed)?;
            give(with_line_end(&age::to_json(&plain).map_err(failed)?).as_bytes(), to, true)
        }
        (Some(format), output) => {
            let opened = sops::open(&content, format, &keyring).map_err(failed)?;
            match output {
                Output::Source => give(opened.plain(), to, true),
                Output::Json => give(with_line_end(&opened.to_json().map_err(failed)?).as_bytes(), to, true),
            }
        }
    }
}

fn with_line_end(text: &str) -> zeroize::Zeroizing<String> {
    let mut line = zeroize::Zeroizing::new(String::with_capacity(text.len() + 1));
    line.push_str(text);
    line.push('\n');
    line
}

/// How a file is to be encrypted.
struct Encryption<'a> {
    armor: bool,
    passphrase: bool,
    passphrases: &'a args::PassphraseArgs,
    recipients: &'a RecipientArgs,
}

fn encrypt(file: &Path, to: Option<&Path>, kind: &KindArgs, asked: &Encryption<'_>) -> Outcome {
    let plain = read(file)?;
    let named = to.unwrap_or(file);
    let format = match kind.kind {
        Some(kind) => kind.format(),
        None if asked.passphrase || asked.armor => None,
        // The name of the result says what it is; that of a plain file only which SOPS format it has.
        None => target::kind_by_name(named).and(target::kind_by_name(file)),
    };
    if age::is_age(&plain) {
        let message = format!("{} is encrypted already: it is an age file", file.display());
        return Err(Diagnostic::error(Code::SecretRules, message)
            .hint("`hob secrets edit` changes an encrypted file")
            .into());
    }
    let sealed = match format {
        Some(format) => {
            let policy = target::policy(named, asked.recipients)?;
            let passphrases = keys::passphrases(asked.passphrases)?;
            sops::seal(&plain, format, &policy, &now(), &passphrases)
                .map_err(|error| failure_of_plain(error, file))?
        }
        None if asked.passphrase => {
            let passphrase = keys::new_passphrase(asked.passphrases)?;
            age::seal_with_passphrase(&plain, passphrase, asked.armor)
                .map_err(|error| failure_of_plain(error, file))?
        }
        None => {
            let rule =
                target::age_rule(named, asked.recipients)?.ok_or_else(|| target::needs_recipients(named))?;
            let passphrases = keys::passphrases(asked.passphrases)?;
            let armor = asked.armor || rule.armor;
            age::seal(&plain, &rule.recipients, armor, &passphrases)
                .map_err(|error| failure_of_plain(error, file))?
        }
    };
    give(&sealed, to, false)
}

fn rekey(
    context: &Context,
    file: &Path,
    rotate: bool,
    kind: &KindArgs,
    recipients: &RecipientArgs,
    keyring: &Keyring,
) -> Result<(), Failure> {
    if target::is_rules(file) {
        // All of them are opened before any is written: one that cannot be opened stops the rest.
        let rules = target::agenix(file)?;
        let there = rules.iter().filter(|(path, _)| path.exists());
        let sealed = there.map(|(path, rule)| Ok((path, reseal_age(path, rule, keyring)?)));
        for (path, sealed) in sealed.collect::<Result<Vec<_>, Failure>>()? {
            store_rekeyed(context, path, &sealed)?;
        }
        return Ok(());
    }
    let content = read(file)?;
    let Some(format) = target::kind_of(file, &content, kind.kind) else {
        let rule = target::age_rule(file, recipients)?.ok_or_else(|| target::needs_recipients(file))?;
        return store_rekeyed(context, file, &reseal_age(file, &rule, keyring)?);
    };
    let failed = |error| failure(error, Some(file));
    let policy = target::policy(file, recipients)?;
    let opened = sops::open(&content, format, keyring).map_err(failed)?;
    match opened.rekey(&policy, rotate, &now(), keyring.passphrases()).map_err(failed)? {
        None => context.say(&format!("{}: nothing to do", file.display())),
        Some(sealed) => store_rekeyed(context, file, &sealed)?,
    }
    Ok(())
}

fn store_rekeyed(context: &Context, file: &Path, sealed: &[u8]) -> Result<(), Failure> {
    live::write(file, sealed, false).map_err(|error| failure(error, None))?;
    context.say(&format!("{}: re-keyed", file.display()));
    Ok(())
}

/// An age file for the recipients of its rule. It does not tell for whom it was, so that there is always something to do.
fn reseal_age(file: &Path, rule: &Rule, keyring: &Keyring) -> Result<Vec<u8>, Failure> {
    let content = read(file)?;
    let failed = |error| failure(error, Some(file));
    let plain = age::open(&content, keyring).map_err(failed)?;
    let armor = rule.armor || age::is_armored(&content);
    age::seal(&plain, &rule.recipients, armor, keyring.passphrases()).map_err(failed)
}

/// What an encrypted file holds, and what it takes to write it again.
enum Opened {
    Age(Plain),
    Sops(Box<sops::Opened>),
}

fn open(file: &Path, content: &[u8], format: Option<Format>, keyring: &Keyring) -> Result<Opened, Failure> {
    let failed = |error| failure(error, Some(file));
    match format {
        None => age::open(content, keyring).map(Opened::Age).map_err(failed),
        Some(format) => {
            sops::open(content, format, keyring).map(|opened| Opened::Sops(Box::new(opened))).map_err(failed)
        }
    }
}
