//! hob-macros
