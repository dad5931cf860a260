//! The primitive `random`.
