//! The primitive `csv`.
