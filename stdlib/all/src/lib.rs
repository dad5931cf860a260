//! The list of all primitives.
