//! The primitive `http`.
