//! The primitive `toml`.
