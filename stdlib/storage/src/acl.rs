//! Default access control lists of directories, from text to what the kernel keeps (`acl(5)`): pure.

use std::collections::BTreeMap;

use hob_model::OpError;

/// The attribute that holds what new files in a directory get.
pub(crate) const DEFAULT_ACL: &std::ffi::CStr = c"system.posix_acl_default";

/// `ACL_EA_VERSION` and the tags of `linux/posix_acl_xattr.h`, in the order in which the kernel wants them.
const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The number of an entry that is for nobody by name.
const NO_ID: u32 = u32::MAX;

/// The most entries in a list: what fits the smallest block of a file system.
const ENTRIES_MAX: usize = 100;

/// Gives the number of a user, or of a group.
pub(crate) type Lookup<'l> = &'l dyn Fn(bool, &str) -> Result<u32, OpError>;

fn wrong(text: &str) -> OpError {
    OpError::invalid(format!("\"{text}\" is no default access list"))
        .hint("write an octal mode, \"0775\", or entries as setfacl(1) takes them: \"u::rwx,g::rwx,g:media:rwx,o::r-x\"")
}

/// Reads `"0775"` or `"user::rwx,group:media:r-x,other::---"`; a mask that is missing is what all named entries need.
pub(crate) fn parse(text: &str, lookup: Lookup<'_>) -> Result<Vec<u8>, OpError> {
    let mut entries: BTreeMap<(u16, u32), u16> = BTreeMap::new();
    if let Ok(mode) = u16::from_str_radix(text, 8) {
        if mode > 0o777 {
            return Err(wrong(text));
        }
        entries.extend(
            [(USER_OBJ, 6), (GROUP_OBJ, 3), (OTHER, 0)].map(|(tag, bit)| ((tag, NO_ID), mode >> bit & 7)),
        );
        return Ok(bytes(&entries));
    }
    for entry in text.split(',') {
        let parts: Vec<&str> = entry.trim().split(':').collect();
        let [kind, name, permissions] = parts[..] else { return Err(wrong(text)) };
        let key = match (kind, name) {
            ("u" | "user", "") => (USER_OBJ, NO_ID),
            ("u" | "user", name) => (USER, lookup(true, name)?),
            ("g" | "group", "") => (GROUP_OBJ, NO_ID),
            ("g" | "group", name) => (GROUP, lookup(false, name)?),
            ("m" | "mask", "") => (MASK, NO_ID),
            ("o" | "other", "") => (OTHER, NO_ID),
            _ => return Err(wrong(text)),
        };
        if entries.insert(key, bits(permissions).ok_or_else(|| wrong(text))?).is_some() {
            return Err(OpError::invalid(format!("the default access list has `{kind}:{name}` twice")));
        }
    }
    for needed in [USER_OBJ, GROUP_OBJ, OTHER] {
        if !entries.contains_key(&(needed, NO_ID)) {
            return Err(wrong(text));
        }
    }
    let masked = |(tag, _): &(u16, u32)| matches!(*tag, USER | GROUP | GROUP_OBJ);
    if entries.keys().any(|(tag, _)| matches!(*tag, USER | GROUP)) && !entries.contains_key(&(MASK, NO_ID)) {
        let mask = entries.iter().filter(|(key, _)| masked(key)).fold(0, |all, (_, bits)| all | bits);
        entries.insert((MASK, NO_ID), mask);
    }
    if entries.len() > ENTRIES_MAX {
        return Err(OpError::invalid(format!("a default access list has at most {ENTRIES_MAX} entries")));
    }
    Ok(bytes(&entries))
}

fn bits(text: &str) -> Option<u16> {
    let bit = |letter| match letter {
        'r' => Some(4),
        'w' => Some(2),
        'x' => Some(1),
        '-' => Some(0),
        _ => None,
    };
    if text.is_empty() || text.len() > 3 {
        None
    } else {
        text.chars().try_fold(0, |all, it| Some(all | bit(it)?))
    }
}

fn bytes(entries: &BTreeMap<(u16, u32), u16>) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for ((tag, id), permissions) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_setfacl_does() {
        let lookup: Lookup<'_> = &|_, name| name.parse().map_err(|_| OpError::invalid("no such name"));
        let entries = |text: &str| -> Result<Vec<(u8, u8, u8)>, String> {
            let bytes = parse(text, lookup).map_err(|error| error.message)?;
            Ok(bytes[4..].chunks(8).map(|it| (it[0], it[2], it[4])).collect())
        };
        let plain = Ok(vec![(1, 7, 255), (4, 7, 255), (0x20, 5, 255)]);
        assert_eq!(entries("0775"), plain);
        assert_eq!(entries("o::r-x,g::rwx, u::rwx"), plain, "in the kernel's order");
        assert_eq!(
            entries("u::rwx,g::r,g:7:rx,u:9:rw,o::-"),
            Ok(vec![(1, 7, 255), (2, 6, 9), (4, 4, 255), (8, 5, 7), (0x10, 7, 255), (0x20, 0, 255)])
        );
        for bad in
            ["", "1777", "rwx", "u::rwx,g::rwx", "u::rwx,g::rwx,o::rwxr", "u::q,g::r,o::r", "o:x:r,u::r,g::r"]
        {
            assert!(entries(bad).is_err_and(|said| said.contains("no default access list")), "{bad}");
        }
        assert!(entries("u::r,u::w,g::r,o::r").is_err_and(|said| said.contains("twice")));
        assert!(entries("u::r,u:nobody-here:w,g::r,o::r").is_err_and(|said| said.contains("no such name")));
    }
}
