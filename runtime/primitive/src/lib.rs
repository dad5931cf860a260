//! hob-primitive
