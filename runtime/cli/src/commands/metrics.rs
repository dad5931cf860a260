//! `hob metrics`

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hob_model::{Code, Diagnostic};

use super::remote;
use crate::args::MetricsArgs;
use crate::context::{Context, Exit, Failure, Outcome};

/// What the names of files end with that node_exporter reads.
const TEXTFILE_EXTENSION: &str = "prom";

/// `hob metrics`: what the hob that serves tells Prometheus.
pub(crate) fn show(context: &Context, args: &MetricsArgs) -> Outcome {
    let told = remote::client(context).get("/metrics")?;
    let text = told.as_str().unwrap_or_default();
    match &args.textfile {
        None => context.print_line(text),
        Some(file) => write(file, text)?,
    }
    Ok(Exit::Done)
}

/// Replaces `file` at once: its reader never sees a half.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if file.extension().is_none_or(|extension| extension != TEXTFILE_EXTENSION) {
        let message = format!("{} would not be read", file.display());
        let hint = format!("node_exporter reads files whose names end with `.{TEXTFILE_EXTENSION}`");
        return Err(Diagnostic::error(Code::Usage, message).hint(hint).into());
    }
    let directory = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> std::io::Result<()> {
        // Another user reads it.
        let readable = Permissions::from_mode(0o644);
        let mut new = tempfile::Builder::new().permissions(readable).tempfile_in(directory)?;
        new.write_all(text.as_bytes())?;
        new.write_all(b"\n")?;
        new.persist(file).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|error| {
        let message = format!("{} cannot be written: {error}", file.display());
        Diagnostic::error(Code::OperationFailed, message).into()
    })
}
