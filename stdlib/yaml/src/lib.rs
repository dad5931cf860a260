//! The primitive `yaml`.
