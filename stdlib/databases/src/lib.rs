//! The primitive `databases`: dumps and restores of PostgreSQL, MariaDB, Redis and SQLite, and looking at them.
//!
//! Servers are asked through the programs that they come with, which know each version and each type: inside the container
//! of a service, or on this machine.
//!
//! | module | holds |
//! |---|---|
//! | `postgres`, `mariadb`, `redis`, `sqlite` | the operations |
//! | `pg` | what the operations of PostgreSQL share |
//! | `target` | which server, as scripts name it |
//! | `client` | programs at a server: what they read and write |
//! | `problem` | what they complain about, in words that name cause and cure |
//! | `file` | dumps as files: whole, or not there |

mod client;
mod file;
mod mariadb;
mod pg;
mod postgres;
mod problem;
mod redis;
mod sqlite;
mod target;

/// All databases.
#[must_use]
pub fn primitives() -> Vec<hob_primitive::Primitive> {
    vec![postgres::primitive(), mariadb::primitive(), redis::primitive(), sqlite::primitive()]
}

/// Plugs in nothing: programs are the business of others.
pub fn install(_: &mut hob_primitive::Ports) {}
