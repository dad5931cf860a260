//! `notify` through its operations: the same cases against scripted servers and against real ones on loopback, mail with a
//! real server, and what declared channels add.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // these modules are tests, helpers included, and say what they skip
#![allow(clippy::disallowed_methods)] // they speak over the network and start a mail server

mod cases;
mod channels;
mod mail;
mod world;
