//! The HTTP API from outside: access, routes, webhooks, streams and the client of commands.
#![allow(clippy::disallowed_methods)] // tests make files and read what was made
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr)] // as helpers of tests are

mod access;
mod api;
mod ask;
mod stream;
mod webhook;
mod world;
