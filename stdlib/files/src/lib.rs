//! The primitive `files`.
