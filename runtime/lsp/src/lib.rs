//! The language server of `hob lsp`: what the checker and the catalog know, for editors.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | the protocol: open documents, requests and their answers |
//! | [`outline`] | symbols and definitions, found among the tokens |
//! | [`place`] | lines, columns and addresses as the protocol counts and writes them |
//!
//! The server reads files through a [`server::Files`]; it does no I/O itself but over its connection.

pub mod outline;
pub mod place;
pub mod server;

pub use server::{Files, serve};
