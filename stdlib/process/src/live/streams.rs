//! Reading what a program writes, and writing what it reads, at the same time.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hob_model::OpError;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::ChildStdin;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::command::{Command, OnOverflow};
use crate::outcome::Capture;

/// How much is read at a time: the size of a pipe.
const READ_BYTES: usize = 64 * 1024;

/// How much is still read from a pipe that somebody else keeps open: the largest a pipe can be by default.
const REST_BYTES_MAX: usize = 1024 * 1024;

/// The reading ends of a program's output.
pub(super) struct Pipes {
    pub(super) stdout: PipeReader,
    /// `None` when stderr goes where stdout goes.
    pub(super) stderr: Option<PipeReader>,
}

/// The tasks that read and write.
pub(super) struct Streams {
    stdout: JoinHandle<Capture>,
    stderr: Option<JoinHandle<Capture>>,
    stdin: Option<JoinHandle<()>>,
    overflow: Arc<Notify>,
    enough: CancellationToken,
    output_bytes_max: u64,
}

impl Pipes {
    /// Starts the tasks.
    pub(super) fn start(self, stdin: Option<ChildStdin>, command: &Command) -> Result<Streams, OpError> {
        let overflow = Arc::new(Notify::new());
        let enough = CancellationToken::new();
        let read = |pipe: PipeReader| -> Result<_, OpError> {
            let pipe = Receiver::from_owned_fd(OwnedFd::from(pipe));
            let pipe = pipe.map_err(|error| OpError::io(&error, "a pipe"))?;
            let told = matches!(command.on_overflow, OnOverflow::Fail).then(|| Arc::clone(&overflow));
            Ok(tokio::spawn(read_all(pipe, Capture::new(command.output_bytes_max), told, enough.clone())))
        };
        let input = stdin.zip(command.stdin.clone());
        Ok(Streams {
            stdout: read(self.stdout)?,
            stderr: self.stderr.map(read).transpose()?,
            stdin: input.map(|(pipe, bytes)| tokio::spawn(write_all(pipe, bytes))),
            overflow: Arc::clone(&overflow),
            enough: enough.clone(),
            output_bytes_max: command.output_bytes_max,
        })
    }
}

impl Streams {
    /// Resolves when a stream passes the limit and that is not to be.
    pub(super) async fn overflow(&self) {
        self.overflow.notified().await;
    }

    /// What was written; waits for the ends of the pipes, but not past `wait`.
    pub(super) async fn finish(self, wait: Duration) -> Result<(Capture, Capture), OpError> {
        if let Some(stdin) = self.stdin {
            stdin.abort();
        }
        let enough = self.enough.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            enough.cancel();
        });
        let lost = |error| OpError::failed(format!("a task that read its output: {error}"));
        let stdout = self.stdout.await.map_err(lost)?;
        let stderr = match self.stderr {
            Some(stderr) => stderr.await.map_err(lost)?,
            None => Capture::new(self.output_bytes_max),
        };
        timer.abort();
        Ok((stdout, stderr))
    }
}

/// A program may end without reading its input; that is its own affair, so errors are not looked at.
async fn write_all(mut pipe: ChildStdin, bytes: Vec<u8>) {
    drop(pipe.write_all(&bytes).await);
}

/// Reads to the end, or, once it is `enough`, what the pipe still holds.
async fn read_all(
    pipe: Receiver,
    mut capture: Capture,
    overflow: Option<Arc<Notify>>,
    enough: CancellationToken,
) -> Capture {
    let mut buffer = vec![0; READ_BYTES];
    let mut rest = REST_BYTES_MAX;
    while rest > 0 {
        let last = tokio::select! {
            biased;
            () = enough.cancelled() => true,
            ready = pipe.readable() => match ready {
                Ok(()) => false,
                Err(_) => return capture,
            },
        };
        match pipe.try_read(&mut buffer) {
            Ok(0) => return capture,
            Ok(count) => {
                capture.push(&buffer[..count]);
                if last {
                    rest = rest.saturating_sub(count);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !last => {}
            Err(_) => return capture,
        }
        if let (Some(overflow), true) = (&overflow, capture.is_truncated()) {
            overflow.notify_one();
        }
    }
    capture
}
