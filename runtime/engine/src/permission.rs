//! Permissions: what a run may do.
//!
//! A need is `files.write:/mnt/media/x` (operation, and what it is done to). A grant is the same with less: `files`
//! allows all of a primitive, `files.write` one operation on anything, `files.write:/mnt/media` on that path and all
//! below it, `http:*.example.net` by pattern, `*` everything.

/// What a run was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// When not empty, only these; when empty, everything if `trusted`.
    pub allow: Vec<String>,
    /// Never these.
    pub deny: Vec<String>,
    /// Whether an empty `allow` means everything.
    pub trusted: bool,
}

impl Permissions {
    /// Whether `need` is permitted.
    #[must_use]
    pub fn permits(&self, need: &str) -> bool {
        let matches = |grants: &[String]| grants.iter().any(|grant| covers(grant, need));
        let allowed = if self.allow.is_empty() { self.trusted } else { matches(&self.allow) };
        allowed && !matches(&self.deny)
    }
}

/// Whether `grant` covers `need`.
#[must_use]
pub fn covers(grant: &str, need: &str) -> bool {
    let (grant_op, grant_arg) = split(grant);
    let (need_op, need_arg) = split(need);
    let op_covered = grant_op == "*"
        || grant_op.strip_suffix(".*").unwrap_or(grant_op) == need_op
        || need_op
            .strip_prefix(grant_op.strip_suffix(".*").unwrap_or(grant_op))
            .is_some_and(|r| r.starts_with('.'));
    op_covered
        && match (grant_arg, need_arg) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(grant), Some(need)) if grant.starts_with('/') && !grant.contains('*') => {
                let grant = grant.trim_end_matches('/');
                need.strip_prefix(grant).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (Some(grant), Some(need)) => wildcard(grant, need),
        }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((op, arg)) => (op, Some(arg)),
        None => (text, None),
    }
}

/// Whether `text` matches `pattern`, where `*` stands for any characters.
#[must_use]
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_cover_needs() {
        for (grant, need, covered) in [
            ("files", "files.write:/a", true),
            ("files.*", "files.write:/a", true),
            ("files.write", "files.write:/a", true),
            ("files.write", "files.read:/a", false),
            ("files.write:/mnt/media", "files.write:/mnt/media/x", true),
            ("files.write:/mnt/media", "files.write:/mnt/media2", false),
            ("file", "files.write:/a", false),
            ("http:*.example.net", "http:a.example.net", true),
            ("http:*.example.net", "http:example.org", false),
            ("*", "process:pg_dump", true),
            ("process:pg_dump", "process", false),
        ] {
            assert_eq!(covers(grant, need), covered, "{grant} {need}");
        }
    }

    #[test]
    fn denials_win_and_strangers_may_nothing() {
        let narrowed =
            Permissions { allow: vec!["files".into()], deny: vec!["files.remove".into()], trusted: true };
        assert!(narrowed.permits("files.write:/a"));
        assert!(!narrowed.permits("files.remove:/a"));
        assert!(!narrowed.permits("http:x"));
        assert!(!Permissions::default().permits("files.read:/a"));
    }
}
