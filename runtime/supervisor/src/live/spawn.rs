//! Starting the program of a service.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hob_model::OpError;
use hob_planner::declaration::{Body, Process};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::identity::Leader;
use super::{account, raw, scan};
use crate::port::{EFFECT_VARIABLE, SERVICE_VARIABLE, SPEC_VARIABLE, STATE_VARIABLE, Spec};

/// The file that the processes of a service hold locked as long as one of them lives.
const LOCK_FILE: &str = "lock";

/// Who may read what belongs to services: their owner.
pub(super) const FILE_MODE: u32 = 0o600;

/// What a process carries beside its spec.
pub(super) struct Marks<'m> {
    pub(super) state: &'m Path,
    pub(super) key: &'m str,
}

pub(super) fn lock_path(dir: &Path) -> PathBuf {
    dir.join(LOCK_FILE)
}

/// Locks the file of a service; `None` while a process of it lives.
pub(super) fn try_lock(dir: &Path) -> Result<Option<File>, OpError> {
    let path = lock_path(dir);
    let failed = |error: &io::Error| OpError::io(error, path.display()).nothing_happened();
    std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = file.map_err(|error| failed(&error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(&error.into())),
    }
}

/// Starts the program; it inherits `lock`, and writes to `output`.
pub(super) fn spawn(
    spec: &Spec,
    process: &Process,
    marks: &Marks<'_>,
    base: &BTreeMap<String, String>,
    output: File,
    lock: File,
) -> Result<(Child, Leader), OpError> {
    let digest = Body::Process(process.clone()).digest();
    let mut command = command(process, &process.command, base, Some(lock))?;
    let name = spec.name.as_str();
    for variable in &spec.delivered.env {
        command.env(&variable.name, OsStr::from_bytes(&variable.value));
    }
    let second = output.try_clone().map_err(|error| OpError::io(&error, "the log").nothing_happened())?;
    command
        .env(STATE_VARIABLE, marks.state)
        .env(SERVICE_VARIABLE, name)
        .env(EFFECT_VARIABLE, marks.key)
        .env(SPEC_VARIABLE, digest.to_string())
        .stdout(output)
        .stderr(second);
    let child = command.spawn().map_err(|error| not_started(&error, process))?;
    // A child that was not waited for keeps its pid, ended or not.
    let (id, started) = scan::identify(child.id())?;
    let (name, key) = (name.to_owned(), marks.key.to_owned());
    Ok((child, Leader { name, process: id, key, digest: Some(digest), started }))
}

/// A command in the surroundings of a service, in a session of its own, without input and output.
pub(super) fn command(
    process: &Process,
    words: &[String],
    base: &BTreeMap<String, String>,
    kept: Option<File>,
) -> Result<Command, OpError> {
    let (program, args) =
        words.split_first().ok_or_else(|| OpError::invalid("there is no command to run"))?;
    if !process.workdir.is_dir() {
        return Err(OpError::not_found(format!(
            "the working directory {} is not there",
            process.workdir.display()
        ))
        .nothing_happened());
    }
    let account = account::find(process.user.as_deref())?;
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(base).current_dir(&process.workdir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(account) = &account {
        command.env("HOME", &account.home).env("USER", &account.name).env("LOGNAME", &account.name);
    }
    command.envs(&process.env);
    raw::in_own_session(&mut command, kept, account.as_ref());
    Ok(command)
}

fn not_started(error: &io::Error, process: &Process) -> OpError {
    let program = process.command.first().map_or("", String::as_str);
    let found = match error.kind() {
        io::ErrorKind::NotFound => OpError::not_found(format!("there is no program `{program}`"))
            .hint("install it, give its full path, or set `env: #{ PATH: … }`"),
        io::ErrorKind::PermissionDenied => OpError::denied(format!("`{program}` may not be run"))
            .hint("is it executable, for the user of the service too?"),
        _ => OpError::io(error, program),
    };
    found.nothing_happened()
}
