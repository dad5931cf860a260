//! The primitive `time`.
