//! `hob lsp`

#![allow(clippy::disallowed_methods)] // the rim: imported files are read here

use std::io::Read;

use hob_engine::bundle::SOURCE_BYTES_MAX;
use hob_lsp::{Files, serve};
use hob_model::{Code, Diagnostic};
use lsp_server::Connection;

use crate::commands::check::CATALOG;
use crate::context::{Exit, Outcome};

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Serves an editor over standard input and output until it leaves.
pub(crate) fn lsp() -> Outcome {
    let (connection, threads) = Connection::stdio();
    let served = serve(&connection, &CATALOG, &Disk, env!("CARGO_PKG_VERSION"));
    // The threads end when nobody sends any more.
    drop(connection);
    let joined = threads.join().map_err(|error| error.to_string());
    // What the threads could not read is the cause of what the server then missed.
    match joined.and(served) {
        Ok(()) => Ok(Exit::Done),
        Err(problem) => {
            let text = format!("the editor does not keep to the protocol: {problem}");
            Err(Diagnostic::error(Code::Usage, text).hint("`hob lsp` is started by an editor").into())
        }
    }
}
