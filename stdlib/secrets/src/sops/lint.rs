//! What is questionable in a SOPS file, as far as it can be seen without opening it.

use super::cipher::is_encrypted;
use super::document::{Node, Visit, walk};
use super::metadata::Metadata;
use super::value::Type;
use super::{Format, text_of};
use crate::age::check_recipient;
use crate::error::Result;
use crate::lookalike::says_secret;

/// Something that deserves a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is a mistake; the rest is good to know.
    pub serious: bool,
    /// What it is.
    pub message: String,
}

impl Finding {
    /// A mistake.
    #[must_use]
    pub fn mistake(message: impl Into<String>) -> Self {
        Self { serious: true, message: message.into() }
    }

    /// Good to know.
    #[must_use]
    pub fn note(message: impl Into<String>) -> Self {
        Self { serious: false, message: message.into() }
    }
}

/// Looks at an encrypted file.
///
/// # Errors
/// When it is malformed.
pub fn lint(bytes: &[u8], format: Format) -> Result<Vec<Finding>> {
    let (_, text) = text_of(bytes)?;
    let document = format.parse(text)?;
    let Some(map) = &document.metadata else {
        return Ok(vec![Finding::mistake("the file is not encrypted: it has no part `sops`")]);
    };
    let metadata = Metadata::read(map)?;
    let mut findings = Vec::new();
    for kind in metadata.foreign() {
        findings.push(Finding::note(format!(
            "the file is also encrypted for {kind}, which is out of hob's scope"
        )));
    }
    for recipient in metadata.recipients() {
        if let Err(error) = check_recipient(recipient) {
            findings.push(Finding::mistake(error.message));
        }
    }
    let mut counts = Counts::default();
    walk(&document.roots, &metadata.selection, &mut |visit| {
        counts.take(visit, &mut findings);
        Ok(())
    })?;
    if document.roots.iter().flatten().any(|child| holds_null(&child.node)) {
        findings.push(Finding::note("null values are neither encrypted nor covered by the MAC"));
    }
    if counts.comments > 0 {
        findings.push(Finding::note(format!("{} comment(s) are not covered by the MAC", counts.comments)));
    }
    if counts.plain > 0 {
        let covered = if metadata.mac_only_encrypted {
            "and their values are not covered by the MAC (mac_only_encrypted)"
        } else {
            "the MAC covers their values, but neither their keys nor where one value ends and the next begins"
        };
        findings.push(Finding::note(format!("{} value(s) are not encrypted; {covered}", counts.plain)));
    }
    Ok(findings)
}

#[derive(Default)]
struct Counts {
    comments: usize,
    plain: usize,
}

impl Counts {
    fn take(&mut self, visit: &Visit<'_>, findings: &mut Vec<Finding>) {
        let value = &visit.leaf.value;
        if visit.is_comment {
            self.comments += 1;
            return;
        }
        let encrypted = value.as_str().is_some_and(is_encrypted);
        if visit.encrypted && !encrypted && !value.is_empty() {
            findings.push(Finding::mistake(format!("{} should be encrypted and is not", visit.name())));
        }
        if visit.encrypted {
            return;
        }
        self.plain += 1;
        let name = visit.path.last().map(|key| key.to_lowercase()).unwrap_or_default();
        if value.kind == Type::Text && !value.is_empty() && says_secret(&name) {
            findings
                .push(Finding::mistake(format!("{} looks like a secret and is not encrypted", visit.name())));
        }
    }
}

fn holds_null(node: &Node) -> bool {
    match node {
        Node::Null => true,
        Node::Map(children) | Node::List(children) => children.iter().any(|child| holds_null(&child.node)),
        Node::Leaf(_) | Node::Comment(_) => false,
    }
}
