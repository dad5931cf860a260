//! `hob secrets edit`: the plain text lies in memory while it is edited, and nowhere else.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use hob_model::{Code, Diagnostic};
use hob_std_secrets::age::{self, Keyring};
use hob_std_secrets::agenix::Rule;
use hob_std_secrets::live::{self, Desk};
use hob_std_secrets::sops::{self, Format, Policy};
use hob_std_secrets::{Plain, age as age_files};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::args::{KeyArgs, KindArgs, RecipientArgs};
use super::{Opened, failure, failure_of_plain, keys, now, open, target};
use crate::context::{Context, Exit, Failure, Outcome};

/// What the `sops` command, and every program, looks at for the editor.
const EDITOR_VARIABLES: [&str; 3] = ["SOPS_EDITOR", "VISUAL", "EDITOR"];
/// The editor where nobody chose one.
const DEFAULT_EDITOR: &str = "vi";

/// How the edited text is written.
enum Way {
    /// As the file that was opened.
    Again(Box<sops::Opened>),
    New(Format, Policy),
    Age(Rule),
}

/// `hob secrets edit FILE`
pub(super) fn edit(
    context: &Context,
    file: &Path,
    kind: &KindArgs,
    recipients: &RecipientArgs,
    keys: &KeyArgs,
) -> Outcome {
    let keyring = keys::keyring(keys)?;
    let before = if file.exists() { Some(super::read(file)?) } else { None };
    let (plain, way) = prepare(file, before.as_deref(), kind, recipients, &keyring)?;
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let desk = Desk::lay_out(&plain, file, &live::memory_directories(runtime))
        .map_err(|error| failure(error, None))?;
    loop {
        run_editor(desk.file())?;
        let edited = desk.content().map_err(|error| failure(error, None))?;
        if *edited == *plain {
            context.say(&format!("{}: nothing changed", file.display()));
            return Ok(Exit::Done);
        }
        match write(&edited, &way, &keyring) {
            Ok(sealed) => return store(context, file, before.as_deref(), &sealed),
            Err(error) => {
                let failure = failure_of_plain(error, file);
                if !ask_again(context, &failure) {
                    return Err(failure);
                }
            }
        }
    }
}

fn prepare(
    file: &Path,
    before: Option<&Vec<u8>>,
    kind: &KindArgs,
    recipients: &RecipientArgs,
    keyring: &Keyring,
) -> Result<(Plain, Way), Failure> {
    let format = match before {
        Some(content) => target::kind_of(file, content, kind.kind),
        None => kind.kind.map_or_else(|| target::kind_by_name(file), super::args::Kind::format),
    };
    let age_way = || -> Result<Way, Failure> {
        let mut rule = target::age_rule(file, recipients)?.ok_or_else(|| target::needs_recipients(file))?;
        rule.armor |= before.is_some_and(|content| age_files::is_armored(content));
        Ok(Way::Age(rule))
    };
    match (before, format) {
        (None, None) => Ok((Zeroizing::new(Vec::new()), age_way()?)),
        (None, Some(format)) => {
            Ok((Zeroizing::new(Vec::new()), Way::New(format, target::policy(file, recipients)?)))
        }
        (Some(content), format) if target::is_plain(content, format) => {
            let message = format!("{} is not encrypted", file.display());
            let hint = format!("`hob secrets encrypt -i {}` encrypts it", file.display());
            Err(Diagnostic::error(Code::SecretRules, message).hint(hint).into())
        }
        (Some(content), format) => match open(file, content, format, keyring)? {
            // For whom is asked before anything is edited.
            Opened::Age(plain) => Ok((plain, age_way()?)),
            Opened::Sops(opened) => Ok((opened.plain().clone(), Way::Again(opened))),
        },
    }
}

fn write(edited: &[u8], way: &Way, keyring: &Keyring) -> hob_std_secrets::Result<Vec<u8>> {
    match way {
        Way::Again(opened) => opened.reseal(edited, &now()),
        Way::New(format, policy) => sops::seal(edited, *format, policy, &now(), keyring.passphrases()),
        Way::Age(rule) => age::seal(edited, &rule.recipients, rule.armor, keyring.passphrases()),
    }
}

/// Writes the result, unless somebody else wrote the file meanwhile.
fn store(context: &Context, file: &Path, before: Option<&Vec<u8>>, sealed: &[u8]) -> Outcome {
    let meanwhile = if file.exists() { Some(super::read(file)?) } else { None };
    if meanwhile.as_deref() != before {
        let message = format!("{} changed while it was edited, and is left as it is", file.display());
        return Err(Diagnostic::error(Code::SecretFile, message)
            .hint("edit it again: your changes were not kept")
            .into());
    }
    live::write(file, sealed, false).map_err(|error| failure(error, None))?;
    context.say(&format!("{}: written", file.display()));
    Ok(Exit::Done)
}

#[allow(clippy::disallowed_methods)] // the rim: the caller's environment is read only by name
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs the editor to its end. A signal that would end hob ends the editor, and hob clears up behind it.
fn run_editor(file: &Path) -> Result<(), Failure> {
    let chosen =
        EDITOR_VARIABLES.iter().find_map(|name| variable(name)).unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    let words = shlex::split(&chosen).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| Failure::usage(format!("the editor `{chosen}` is no command")))?;
    let unchanged = |message: String| -> Failure {
        Diagnostic::error(Code::SecretFile, message)
            .hint("nothing was changed; EDITOR names the editor")
            .into()
    };
    let status = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(wait(&words, file)))
        .map_err(|error| unchanged(format!("the editor `{}` cannot be run: {error}", words[0])))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(unchanged(format!("the editor `{}` failed: {status}", words[0]))),
        None => Err(unchanged("ended by a signal while editing".to_owned())),
    }
}

#[allow(clippy::disallowed_methods)] // the rim: the editor is a program of the user's choice
async fn wait(words: &[String], file: &Path) -> std::io::Result<Option<ExitStatus>> {
    // Ctrl-C belongs to the editor: that hob takes notice of it keeps it from ending.
    let _interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut editor = tokio::process::Command::new(&words[0]).args(&words[1..]).arg(file).spawn()?;
    tokio::select! {
        status = editor.wait() => status.map(Some),
        _ = terminate.recv() => editor.kill().await.map(|()| None),
        _ = hangup.recv() => editor.kill().await.map(|()| None),
    }
}

/// Whether a person wants to go on editing what could not be written.
fn ask_again(context: &Context, failure: &Failure) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    context.report(failure);
    context.complain("Press Enter to go on editing, or Ctrl-D to give your changes up.");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok_and(|bytes| bytes > 0)
}
