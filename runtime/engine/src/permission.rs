//! Permissions: what a run may do.
//!
//! A need is `files.write:/mnt/media/x` (operation, and what it is done to). A grant is the same with less: `files`
//! allows all of a primitive, `files.write` one operation on anything, `files.write:/mnt/media` on that path and all
//! below it, `http:*.example.net` by pattern, `*` everything. People may write relative paths and `~`:
//! [`Base::absolute`] makes them absolute when a run or a declaration is read.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use hob_model::pattern::wildcard;
use hob_model::{OpError, names};
use hob_primitive::{Operation, Registry, resolve};

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

    /// The grant taken away that keeps `need` from being permitted, if it is one.
    #[must_use]
    pub fn denied_by(&self, need: &str) -> Option<&str> {
        self.deny.iter().find(|deny| covers(deny, need)).map(String::as_str)
    }

    /// Takes away what `allow` does not cover and what `deny` covers; it never gives more than there was.
    pub fn narrow(&mut self, allow: Option<&[String]>, deny: &[String]) {
        self.deny.extend_from_slice(deny);
        let Some(allow) = allow else { return };
        self.allow = match (self.allow.is_empty(), self.trusted) {
            (true, true) => allow.to_vec(),
            (true, false) => vec![],
            (false, _) => both(&self.allow, allow),
        };
        // From now on an empty list means nothing.
        self.trusted = false;
    }
}

/// The grants of two lists that both cover: of each pair the narrower one. Patterns that overlap without one of them
/// covering the other are left out.
fn both(one: &[String], other: &[String]) -> Vec<String> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    let narrower = pairs.filter_map(|(a, b)| match (covers(a, b), covers(b, a)) {
        (true, _) => Some(b),
        (false, true) => Some(a),
        (false, false) => None,
    });
    narrower.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Where the paths of grants start.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// Relative paths start here; absolute.
    pub directory: &'a Path,
    /// What `~` stands for, where that is known.
    pub home: Option<&'a Path>,
}

impl Base<'_> {
    /// `grant` as it is compared: what is done to a path names it absolutely, as needs do. Patterns that begin with `*`
    /// match anywhere and stay.
    ///
    /// # Errors
    /// When no operation needs anything like it, or `~` stands for nothing here.
    pub fn absolute(&self, grant: &str, registry: &Registry) -> Result<String, OpError> {
        if grant.contains("::") {
            let error = OpError::invalid(format!("`{grant}` is spelled like a call"));
            return Err(error.hint(format!("did you mean `{}`?", grant.replace("::", "."))));
        }
        let (head, argument) = split(grant);
        let heads: BTreeSet<Head<'_>> =
            registry.operations().flat_map(|operation| heads(operation)).collect();
        let mut meant = heads.iter().filter(|known| op_covers(head, &known.name)).peekable();
        if meant.peek().is_none() {
            return Err(unknown(grant, registry, &heads));
        }
        match argument {
            Some(path) if head != "*" && meant.all(|known| known.takes_path) => {
                Ok(format!("{head}:{}", self.path(path)?))
            }
            _ => Ok(grant.to_owned()),
        }
    }

    fn path(&self, text: &str) -> Result<String, OpError> {
        if text.starts_with('*') {
            return Ok(text.to_owned());
        }
        let resolved = match text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            None => resolve(self.directory, text),
            Some(rest) => {
                let home = self.home.ok_or_else(|| {
                    OpError::invalid("`~` stands for nothing: HOME is not set").hint("write the path in full")
                })?;
                resolve(home, rest.trim_start_matches('/'))
            }
        };
        Ok(resolved.to_string_lossy().into_owned())
    }
}

/// What a permission begins with, and whether a path follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head<'a> {
    name: Cow<'a, str>,
    takes_path: bool,
}

/// The heads of what an operation needs.
fn heads(operation: &Operation) -> impl Iterator<Item = Head<'_>> {
    let own = operation
        .permission
        .is_none()
        .then(|| Head { name: Cow::Owned(operation.name.replace("::", ".")), takes_path: false });
    let template = operation.permission.unwrap_or_default().split(' ').filter(|word| !word.is_empty());
    own.into_iter().chain(template.map(|word| {
        let (name, place) = split(word);
        let param = place.and_then(|place| place.strip_prefix('{')?.strip_suffix('}'));
        let takes_path = operation.params.iter().any(|known| known.is_path && param == Some(known.name));
        Head { name: Cow::Borrowed(name), takes_path }
    }))
}

fn unknown(grant: &str, registry: &Registry, known: &BTreeSet<Head<'_>>) -> OpError {
    let (head, _) = split(grant);
    let error = OpError::invalid(format!("no operation needs a permission like `{grant}`"));
    if let Some(operation) = registry.get(&head.replace('.', "::")) {
        let needed: Vec<String> = heads(operation).map(|head| format!("`{}`", head.name)).collect();
        return error.hint(format!("{} needs {}", operation.name, needed.join(" and ")));
    }
    let names =
        || known.iter().flat_map(|known| [&*known.name, known.name.split('.').next().unwrap_or_default()]);
    match names::nearest(head, names()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`hob doc OPERATION` says what an operation needs; `*` is everything"),
    }
}

/// Whether `grant` covers `need`.
#[must_use]
pub fn covers(grant: &str, need: &str) -> bool {
    let (grant_op, grant_arg) = split(grant);
    let (need_op, need_arg) = split(need);
    op_covers(grant_op, need_op)
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

/// Whether what stands before the colon of a grant covers that of a need.
fn op_covers(grant: &str, need: &str) -> bool {
    let stem = grant.strip_suffix(".*").unwrap_or(grant);
    grant == "*" || need.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((op, arg)) => (op, Some(arg)),
        None => (text, None),
    }
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
    fn narrowing_never_gives_more() {
        for (allow, trusted, by, left) in [
            (&[][..], true, &["files"][..], &["files"][..]),
            (&[], false, &["files"], &[]),
            (&["files.write:/a"], false, &["files"], &["files.write:/a"]),
            (&["files", "http"], true, &["files.write:/a", "process"], &["files.write:/a"]),
            (&["http"], true, &["files"], &[]),
            (&["*"], true, &["http:*.net"], &["http:*.net"]),
            (&["files.read:/a/b"], true, &["files.read:/a"], &["files.read:/a/b"]),
            (&["files.read:/a"], true, &["files.read:/ab"], &[]),
            (&[], true, &[], &[]),
        ] {
            let owned = |list: &[&str]| -> Vec<String> { list.iter().map(|it| (*it).to_owned()).collect() };
            let mut it = Permissions { allow: owned(allow), deny: owned(&["env"]), trusted };
            it.narrow(Some(&owned(by)), &owned(&["time"]));
            let expected = Permissions { allow: owned(left), deny: owned(&["env", "time"]), trusted: false };
            assert_eq!(it, expected, "{allow:?} {trusted} {by:?}");
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
