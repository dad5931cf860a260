//! The operations of `storage::s3`, on servers in memory and on one that speaks S3 and checks signatures.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // Tests look at real files, and say what they expect.

mod cases;
mod server;
mod world;
