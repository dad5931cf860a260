//! The primitive `env`.
