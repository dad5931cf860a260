//! The primitive `semver`.
