//! The primitive `json`.
