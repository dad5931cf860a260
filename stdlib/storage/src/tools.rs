//! Programs that know disks and file systems, asked once and answered at once.

use std::time::Duration;

use hob_model::OpError;
use serde_json::Value as Json;

/// What a program answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote, no more than [`OUTPUT_BYTES_MAX`].
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
}

/// The most output that is read.
pub const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// Programs of a machine.
pub trait Tools: Send + Sync {
    /// Runs one to its end.
    ///
    /// # Errors
    /// `not_found` when there is no such program, `timeout` when it does not end in time.
    fn run(&self, program: &str, args: &[&str], patience: Duration) -> Result<Answer, OpError>;
}

impl Answer {
    /// What it wrote, as JSON.
    pub(crate) fn json(&self, program: &str) -> Result<Json, OpError> {
        serde_json::from_slice(&self.stdout).map_err(|error| {
            let said =
                if self.stderr.trim().is_empty() { error.to_string() } else { self.stderr.trim().to_owned() };
            OpError::failed(format!("{program} did not answer in JSON: {said}"))
                .hint(format!("is it old? `{program} --version` tells"))
        })
    }

    /// Fails unless it did well.
    pub(crate) fn done(self, program: &str) -> Result<Self, OpError> {
        if self.status == Some(0) {
            return Ok(self);
        }
        let status = self.status.map_or("by a signal".to_owned(), |status| format!("with {status}"));
        Err(OpError::failed(format!("{program} ended {status}: {}", self.stderr.trim())))
    }
}
