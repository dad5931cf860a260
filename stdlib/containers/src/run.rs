//! Running programs in containers.

use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::StreamExt;
use hob_model::{OpError, Value};
use hob_primitive::{Content, Ctx, Options, Size};

use crate::life::{self, engine, told};
use crate::port::Channel;
use crate::read::{Pairs, Words};

/// How much of each stream is kept unless `output_limit` says otherwise: 8 MiB.
pub(crate) const OUTPUT_BYTES: u64 = 8 << 20;

/// The most that `output_limit` may say: 256 MiB, since it is kept in memory.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// How much of a stream an error shows, in characters.
const EXCERPT_CHARS_MAX: usize = 2000;

/// Options of `containers::exec`.
#[derive(Debug, Options)]
pub(crate) struct ExecOptions {
    /// The user, and group, it runs as.
    user: Option<String>,
    /// The directory it starts in.
    workdir: Option<String>,
    /// Further variables of its environment.
    #[option(default = "Pairs::default()")]
    environment: Pairs,
    /// What it reads.
    stdin: Option<Content>,
    /// Whether it may do everything that root may.
    #[option(default = "false")]
    privileged: bool,
    /// Exit codes that are no error.
    #[option(default = "vec![0]")]
    success: Vec<i64>,
    /// Whether other exit codes are an error.
    #[option(default = "true")]
    check: bool,
    /// How much of each stream is kept.
    #[option(default = "Size(OUTPUT_BYTES)")]
    output_limit: Size,
    /// The engine's socket: a path, `unix://…` or `tcp://…`.
    socket: Option<String>,
}

/// What is kept of a stream.
#[derive(Default)]
struct Capture {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capture {
    fn take(&mut self, bytes: &[u8], limit: u64) {
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.bytes.len());
        self.truncated |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Its end, for errors.
    fn end(&self) -> String {
        let text = self.text();
        let skip = text.chars().count().saturating_sub(EXCERPT_CHARS_MAX);
        text.chars().skip(skip).collect()
    }
}

/// Runs a program to its end.
pub(crate) async fn exec(
    cx: &Ctx,
    name: &str,
    Words(cmd): Words,
    options: ExecOptions,
) -> Result<Value, OpError> {
    let program = cmd.first().cloned().unwrap_or_default();
    if program.is_empty() {
        return Err(OpError::invalid("the command is empty"));
    }
    if options.output_limit.0 > OUTPUT_BYTES_MAX {
        return Err(OpError::invalid(format!("option `output_limit`: more than {OUTPUT_BYTES_MAX}")));
    }
    let engine = engine(cx, options.socket.as_deref()).await?;
    let found = life::existing(&*engine, name).await?;
    if !life::is_running(&found) {
        return Err(OpError::conflict(format!("container {name} is not running"))
            .hint("start it first: containers::start")
            .nothing_happened());
    }
    let environment: Vec<String> =
        options.environment.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let config = ExecConfig {
        attach_stdin: Some(options.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(cmd),
        env: (!environment.is_empty()).then_some(environment),
        user: options.user.clone(),
        working_dir: options.workdir.clone(),
        privileged: options.privileged.then_some(true),
        ..Default::default()
    };
    let exec = told(&*engine, name, engine.exec(&life::id(&found), config).await);
    let exec = exec.map_err(OpError::nothing_happened)?;
    let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
    let mut output = engine.exec_start(&exec, options.stdin.map(|content| Bytes::from(content.0)));
    while let Some(chunk) = output.next().await {
        let chunk = told(&*engine, name, chunk)?;
        let capture = if chunk.stream == Channel::Stdout { &mut stdout } else { &mut stderr };
        capture.take(&chunk.bytes, options.output_limit.0);
    }
    let code = told(&*engine, name, engine.exec_code(&exec).await)?;
    let code =
        code.ok_or_else(|| OpError::failed(format!("{program} in {name} ended without an exit code")))?;
    if options.check && !options.success.contains(&code) {
        return Err(refused(name, &program, code, &stdout, &stderr));
    }
    Ok(value(code, &stdout, &stderr))
}

/// Codes that runtimes give when a program could not be started: as shells do. Docker gives 126 for all reasons, and
/// says which among what the program wrote.
fn refused(name: &str, program: &str, code: i64, stdout: &Capture, stderr: &Capture) -> OpError {
    let said = |words| stdout.text().contains(words) || stderr.text().contains(words);
    let is_absent = code == 127
        || (code == 126 && (said("executable file not found") || said("no such file or directory")));
    let it = match code {
        _ if is_absent => OpError::not_found(format!("there is no program {program} in {name}")),
        126 => OpError::denied(format!("{program} in {name} cannot be executed")),
        code => OpError::failed(format!("{program} in {name} ended with exit code {code}")),
    };
    it.detail("code", code).detail("stdout", stdout.end()).detail("stderr", stderr.end())
}

fn value(code: i64, stdout: &Capture, stderr: &Capture) -> Value {
    Value::map([
        ("code", Value::from(code)),
        ("stdout", Value::from(stdout.text())),
        ("stderr", Value::from(stderr.text())),
        ("stdout_truncated", Value::from(stdout.truncated)),
        ("stderr_truncated", Value::from(stderr.truncated)),
    ])
}

/// What a dry run goes on with: success, and nothing written.
pub(crate) fn modelled() -> Value {
    value(0, &Capture::default(), &Capture::default())
}
