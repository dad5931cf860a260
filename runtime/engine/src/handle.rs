//! What a declaration returns.

/// The handle of a declaration: a kind and a name. Captured by a closure or journaled, it is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// `service`, `mount`, `secret`, ….
    pub kind: &'static str,
    /// The declared name.
    pub name: String,
}
