//! The primitive `process`.
