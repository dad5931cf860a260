//! The token that opens the API over TCP: one line in a file that only its owner can read.
#![allow(clippy::disallowed_methods)] // the token file is this module's whole business

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hob_model::{Code, Diagnostic};

/// Random bytes of a new token; it is written as twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// The shortest token that is taken from a file that somebody wrote.
const TOKEN_CHARS_MIN: usize = 32;
/// The longest file that is read as a token.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;
/// Bits of the mode that would let others read or write the file.
const OTHERS: u32 = 0o077;

/// The token in the file at `path`; a new one is written when there is no file.
///
/// # Errors
/// When it cannot be read or made, when others can read it, or when it is too short to be a secret.
pub(crate) fn load_or_create(path: &Path) -> Result<String, Diagnostic> {
    let unusable = |what: &str| {
        Diagnostic::error(Code::StateUnusable, format!("the token file {} {what}", path.display()))
    };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return create(path).map_err(|error| unusable(&format!("cannot be made: {error}")));
        }
        Err(error) => return Err(unusable(&format!("cannot be read: {error}"))),
        Ok(metadata) => metadata,
    };
    let ours = [rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid());
    if !metadata.is_file() || metadata.len() > TOKEN_FILE_BYTES_MAX || !ours {
        return Err(unusable("is not a small file of this user")
            .hint("remove it: a new one is made at the next start"));
    }
    if metadata.mode() & OTHERS != 0 {
        let hint = format!("chmod 600 {0}; or remove it, since others may have read it", path.display());
        return Err(unusable("can be read by others").hint(hint));
    }
    let text = fs::read_to_string(path).map_err(|error| unusable(&format!("cannot be read: {error}")))?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = format!("write at least {TOKEN_CHARS_MIN} letters and digits, or remove it");
        return Err(unusable("holds no token").hint(hint));
    }
    Ok(token.to_owned())
}

/// Writes a new token beside its place and moves it there, so that no crash leaves half of it.
fn create(path: &Path) -> std::io::Result<String> {
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{token}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&beside)))?;
    Ok(token)
}
