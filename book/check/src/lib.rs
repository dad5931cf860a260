//! What keeps the project's documents true.
//!
//! | module | does |
//! |---|---|
//! | [`pages`] | finds the Markdown files and scripts of the repository |
//! | [`markdown`] | takes code blocks, headings and links out of Markdown |
//! | [`scripts`] | runs a script of a document, or checks what it declares |
//! | [`console`] | plays a session that a document shows, and compares what comes |
//! | [`reference`](mod@reference) | writes the reference from the declarations of the operations |
//!
//! A block of a document is marked by the words after its three backticks:
//!
//! | block | what happens to it |
//! |---|---|
//! | `rhai` | a playbook is run with the live adapters in an empty directory; a homelab is validated, and the bodies of its schedules and workflows are rehearsed |
//! | `rhai,no_run` | it is compiled, and a homelab is validated: it needs a network or a program that may not be there |
//! | `rhai,file=NAME` | as `rhai`; in the tutorial it is written to NAME as well |
//! | `console` | in the tutorial its commands are run in order, and what they print is compared |

#![allow(clippy::disallowed_methods)] // a tool for developers: it reads and writes the project's own files
#![allow(clippy::unwrap_used)] // and is used by tests alone, where a panic is the report

pub mod console;
pub mod markdown;
pub mod pages;
pub mod reference;
pub mod scripts;
