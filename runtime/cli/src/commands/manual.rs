//! `hob completions`, `hob man`, `hob definitions`: files for shells, manuals and editors, made of what the binary
//! knows.

#![allow(clippy::disallowed_methods)] // the rim: the files that a person asks for are written here

use std::path::Path;

use clap::CommandFactory;
use hob_model::{Code, Diagnostic};

use crate::args::Cli;
use crate::commands::check::CATALOG;
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob completions SHELL`
pub(crate) fn completions(context: &Context, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hob", &mut script);
    context.print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// `hob man DIR`: a page for hob and one for each command.
pub(crate) fn man(context: &Context, directory: &Path) -> Outcome {
    let failed = |error: std::io::Error| -> Failure {
        Diagnostic::error(Code::Usage, format!("{}: {error}", directory.display())).into()
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    context.say(&format!("man pages are in {}", directory.display()));
    Ok(Exit::Done)
}

/// `hob definitions`: everything that scripts can call, in Rhai's own form for editors.
pub(crate) fn definitions(context: &Context) -> Outcome {
    context.print(&hob_check::definitions::text(&CATALOG));
    Ok(Exit::Done)
}
