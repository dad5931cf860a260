//! Real servers for tests: a container engine with its registry, a systemd with its bus, and further ones, each in a
//! temporary directory of its own, started once per test binary and gone with it.
//!
//! A test that is killed cannot tidy up; whoever starts a server next removes what an earlier one left, and recognises
//! it by its marker.

#![allow(clippy::disallowed_methods)] // it starts real programs and lays out their files
