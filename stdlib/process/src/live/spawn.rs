//! A command as the standard library has it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};

use hob_model::OpError;

use super::streams::Pipes;
use crate::command::Command;

/// The command with its arguments, environment and streams, and the reading ends of these.
pub(super) fn prepare(
    program: &Path,
    command: &Command,
    env: &BTreeMap<String, String>,
) -> Result<(StdCommand, Pipes), OpError> {
    let no_pipe = |error: io::Error| OpError::io(&error, "a pipe");
    let mut std_command = StdCommand::new(program);
    std_command
        .arg0(&command.program)
        .args(&command.args)
        .env_clear()
        .envs(env)
        .current_dir(&command.cwd)
        .stdin(match command.stdin {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        });
    let (stdout, stdout_end) = io::pipe().map_err(no_pipe)?;
    let stderr = if command.combine {
        std_command.stderr(stdout_end.try_clone().map_err(no_pipe)?);
        None
    } else {
        let (stderr, stderr_end) = io::pipe().map_err(no_pipe)?;
        std_command.stderr(stderr_end);
        Some(stderr)
    };
    std_command.stdout(stdout_end);
    Ok((std_command, Pipes { stdout, stderr }))
}
