//! Whom a service runs as.

use std::ffi::CString;

use hob_model::OpError;
use nix::unistd::{Gid, Uid, User};

/// A user with its groups.
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
    pub(super) name: String,
    pub(super) home: String,
}

/// The account to switch to; `None` when there is nothing to switch.
pub(super) fn find(user: Option<&str>) -> Result<Option<Account>, OpError> {
    let Some(user) = user else {
        return Ok(None);
    };
    let found = match user.parse() {
        Ok(id) => User::from_uid(Uid::from_raw(id)),
        Err(_) => User::from_name(user),
    };
    let database = |error: nix::Error| OpError::io(&error.into(), "the user database").nothing_happened();
    let entry = found.map_err(database)?;
    let entry = entry.ok_or_else(|| {
        OpError::not_found(format!("there is no user `{user}`")).hint("create it first").nothing_happened()
    })?;
    if entry.uid == Uid::effective() {
        return Ok(None);
    }
    if !Uid::effective().is_root() {
        return Err(OpError::denied(format!("only root may run services as `{user}`"))
            .hint("run hob as root, or leave `user` out"));
    }
    let name = CString::new(entry.name.as_str()).expect("names of the user database have no NUL");
    let groups = nix::unistd::getgrouplist(&name, entry.gid).map_err(database)?;
    Ok(Some(Account {
        uid: entry.uid.as_raw(),
        gid: entry.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        home: entry.dir.to_string_lossy().into_owned(),
        name: entry.name,
    }))
}
