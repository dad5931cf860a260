//! The primitive `regex`.
