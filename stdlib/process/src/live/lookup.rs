//! Which program, as whom, with which environment.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hob_model::OpError;
use hob_primitive::NameOrId;
use nix::unistd::{Gid, Group, Uid, User};

use crate::command::Command;

/// Whom a program runs as.
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
    /// Name and home; none for a number without an entry in the user database.
    account: Option<(String, String)>,
}

/// The identity to switch to; `None` when there is nothing to switch.
pub(super) fn identity(
    user: Option<&NameOrId>,
    group: Option<&NameOrId>,
) -> Result<Option<Identity>, OpError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let entry = user.map(find_user).transpose()?;
    let gid = group.map(find_group).transpose()?;
    let own = (Uid::effective(), Gid::effective());
    let (uid, account_gid) = match (&entry, user) {
        (Some(Some(entry)), _) => (entry.uid, Some(entry.gid)),
        (_, Some(NameOrId::Id(id))) => (Uid::from_raw(*id), None),
        _ => (own.0, Some(own.1)),
    };
    let gid = gid.or(account_gid).ok_or_else(|| {
        OpError::invalid(format!("user {uid} has no entry in the user database, so its group is not known"))
            .hint("give `group` too")
    })?;
    if (uid, gid) == own {
        return Ok(None);
    }
    if !own.0.is_root() {
        return Err(OpError::denied("only root may run programs as somebody else")
            .hint("run hob as root, or leave `user` and `group` out"));
    }
    let entry = entry.flatten();
    let groups = match (&entry, group) {
        // The user's own groups belong to the user's own main group; another group is taken alone.
        (Some(entry), None) => supplementary(entry)?,
        _ => vec![gid.as_raw()],
    };
    Ok(Some(Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups,
        account: entry.map(|entry| (entry.name, entry.dir.to_string_lossy().into_owned())),
    }))
}

fn find_user(user: &NameOrId) -> Result<Option<User>, OpError> {
    let found = match user {
        NameOrId::Name(name) => User::from_name(name),
        NameOrId::Id(id) => User::from_uid(Uid::from_raw(*id)),
    };
    match (found, user) {
        (Err(error), _) => Err(OpError::io(&error.into(), "the user database")),
        (Ok(None), NameOrId::Name(name)) => Err(OpError::not_found(format!("there is no user `{name}`"))),
        (Ok(found), _) => Ok(found),
    }
}

fn find_group(group: &NameOrId) -> Result<Gid, OpError> {
    let name = match group {
        NameOrId::Id(id) => return Ok(Gid::from_raw(*id)),
        NameOrId::Name(name) => name,
    };
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(OpError::not_found(format!("there is no group `{name}`"))),
        Err(error) => Err(OpError::io(&error.into(), "the group database")),
    }
}

fn supplementary(user: &User) -> Result<Vec<u32>, OpError> {
    let name = CString::new(user.name.as_str()).expect("names of the user database have no NUL");
    let groups = nix::unistd::getgrouplist(&name, user.gid);
    let groups = groups.map_err(|error| OpError::io(&error.into(), "the group database"))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// The base, what belongs to the identity, then what the command says.
pub(super) fn environment(
    base: &BTreeMap<String, String>,
    command: &Command,
    identity: Option<&Identity>,
) -> BTreeMap<String, String> {
    let mut env = base.clone();
    if let Some(identity) = identity {
        env.remove("HOME");
        env.remove("USER");
        if let Some((name, home)) = &identity.account {
            env.insert("HOME".to_owned(), home.clone());
            env.insert("USER".to_owned(), name.clone());
            env.insert("LOGNAME".to_owned(), name.clone());
        }
    }
    for (name, value) in &command.env {
        match value {
            Some(value) => drop(env.insert(name.clone(), value.clone())),
            None => drop(env.remove(name)),
        }
    }
    env
}

/// The file of the program: a path from the working directory, or the first match in `path`.
///
/// Looked for here and not by `execvp`, so that the error can say where.
pub(super) fn program(command: &Command, path: &str) -> Result<PathBuf, OpError> {
    check_cwd(&command.cwd)?;
    let name = command.program.as_str();
    if name.contains('/') {
        let file = command.cwd.join(name);
        return match std::fs::metadata(&file) {
            Ok(meta) if meta.is_dir() => {
                Err(OpError::invalid(format!("{} is a directory, not a program", file.display())))
            }
            Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Err(not_executable(&file)),
            Ok(_) => Ok(file),
            Err(error) => Err(OpError::io(&error, file.display())),
        };
    }
    let mut refused = None;
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        let file = dir.join(name);
        match std::fs::metadata(&file) {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return Ok(file),
            Ok(meta) if meta.is_file() => refused = Some(file),
            _ => {}
        }
    }
    match refused {
        Some(file) => Err(not_executable(&file)),
        None if name.contains(' ') => Err(OpError::not_found(format!("there is no program `{name}`"))
            .hint("give program and arguments as separate items of the array")),
        None => Err(OpError::not_found(format!("there is no program `{name}` in {path}"))
            .hint("install it, give its full path, or set `env: #{ PATH: … }`")),
    }
}

fn not_executable(file: &Path) -> OpError {
    OpError::denied(format!("{} is not executable", file.display()))
        .hint(format!("chmod +x {}", file.display()))
}

fn check_cwd(cwd: &Path) -> Result<(), OpError> {
    match std::fs::metadata(cwd) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(OpError::invalid(format!("the working directory {} is not a directory", cwd.display()))),
        Err(error) => Err(OpError::io(&error, format!("the working directory {}", cwd.display()))),
    }
}

/// Why a program that is there could not be started.
pub(super) fn spawn_error(error: &io::Error, program: &Path, command: &Command) -> OpError {
    let shown = program.display();
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        // glibc hands such a file to /bin/sh by itself; other C libraries refuse it.
        Some(rustix::io::Errno::NOEXEC) => {
            OpError::invalid(format!("{shown} is not a program that this machine can run"))
                .hint("a script needs a first line such as `#!/bin/sh`")
        }
        Some(rustix::io::Errno::NOENT) => {
            OpError::not_found(format!("the interpreter or loader that {shown} asks for is not there"))
                .hint("look at its first line (`#!…`), or at `ldd` of it")
        }
        Some(rustix::io::Errno::TOOBIG) => {
            OpError::invalid(format!("{} has too many or too long arguments", command.program))
                .hint("give large input as `stdin`")
        }
        Some(rustix::io::Errno::AGAIN | rustix::io::Errno::NOMEM) => {
            OpError::unavailable(format!("{shown}: the machine has no room for another process"))
        }
        _ => OpError::io(error, shown),
    }
}
