//! What the library says, in the words of hob.

use hob_model::OpError;
use rustic_core::{ErrorKind, RusticError};

/// An error of the library, as scripts see it.
pub(crate) fn explain(error: &RusticError) -> OpError {
    if error.is_incorrect_password() {
        return OpError::denied("the password opens none of the keys of the repository")
            .hint("is it the repository's own password, and not that of a server?");
    }
    let text = error.display_log();
    if text.contains("No repository config file found") {
        return OpError::not_found("there is no repository")
            .hint("`backup::init` makes one; is what it lies on mounted?");
    }
    if text.contains("append-only mode") || error_is(&text, ErrorKind::AppendOnly) {
        return OpError::denied("the repository only appends: nothing is removed from it")
            .hint("forget and prune with a repository that allows it");
    }
    let text = text.trim_start_matches("Error: ").replace('\n', " ");
    if text.contains("MAC check failed") || error_is(&text, ErrorKind::Verification) {
        return OpError::failed(format!("the repository is damaged: {text}"))
            .hint("`backup::check` tells what it still holds");
    }
    OpError::failed(text)
}

fn error_is(text: &str, kind: ErrorKind) -> bool {
    text.contains(&format!("(kind: related to {kind})"))
}
