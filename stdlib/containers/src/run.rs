//! Running programs in containers, and ending those that take too long.
//!
//! No engine has a request that ends a program which `exec` started, and the process id that it tells is that of its own
//! machine. So each program gets a variable that no other has, and is found by it and ended by a shell inside.

use std::future::ready;
use std::time::Duration;

use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hob_model::{OpError, Value};
use hob_primitive::{Ctx, Options, SecretContent, Size};

use crate::life::{self, engine, told};
use crate::port::{Channel, Engine, Input};
use crate::problem::too_late;
use crate::read::{Variables, Words};

/// How much of each stream is kept unless `output_limit` says otherwise: 8 MiB.
pub(crate) const OUTPUT_BYTES: u64 = 8 << 20;

/// The most that `output_limit` may say: 256 MiB, since it is kept in memory.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// How much of a stream an error shows, in characters.
const EXCERPT_CHARS_MAX: usize = 2000;

/// The variable by which a program, and what it started, is found again.
pub(crate) const MARK: &str = "HOB_EXEC";

/// How many hexadecimal digits its value has: all have the same length, so that none is the beginning of another.
const MARK_DIGITS: usize = 32;

/// How long ending a program may take.
pub(crate) const END_WAIT: Duration = Duration::from_secs(8);

/// Ends all processes whose environment has `$1`. Those that fork meanwhile are found in the next round.
pub(crate) const END_SCRIPT: &str = r#"
round=0
while [ "$round" -lt 20 ]; do
    found=
    for process in /proc/[0-9]*; do
        if grep -qs "$1" "$process/environ"; then found=1; kill -KILL "${process#/proc/}"; fi
    done
    [ -z "$found" ] && exit 0
    round=$((round + 1))
    sleep 0.05 2>/dev/null || sleep 1
done
exit 1
"#;

/// Options of `containers::exec`.
#[derive(Debug, Options)]
pub(crate) struct ExecOptions {
    /// The user, and group, it runs as.
    user: Option<String>,
    /// The directory it starts in.
    workdir: Option<String>,
    /// Further variables of its environment, which may be secrets.
    #[option(default = "Variables::default()")]
    environment: Variables,
    /// What it reads, a secret too.
    stdin: Option<SecretContent>,
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
    let mark = mark(cx);
    let config = exec_config(cx, cmd, &mark, &options)?;
    // Whoever may read its environment: the same user with the same rights.
    let ender = ExecConfig {
        attach_stdin: Some(false),
        cmd: Some(["sh", "-c", END_SCRIPT, "sh", &mark].map(str::to_owned).into()),
        env: None,
        working_dir: None,
        ..config.clone()
    };
    let id = life::id(&found);
    let exec = told(&*engine, name, engine.exec(&id, config).await);
    let exec = exec.map_err(OpError::nothing_happened)?;
    let mut seen = Seen { limit: options.output_limit.0, ..Seen::default() };
    let stdin = options.stdin.map(|content| cx.open(&content.0)).transpose()?.map(Bytes::from_owner);
    let what = format!("{program} in {name}");
    let cut = tokio::select! {
        biased;
        code = seen.until_end(&*engine, name, &exec, stdin) => {
            let code = code.map_err(too_late)?.ok_or_else(|| OpError::failed(format!("{what} ended without an exit code")))?;
            if options.check && !options.success.contains(&code) {
                return Err(refused(name, &program, code, &seen.stdout, &seen.stderr));
            }
            return Ok(value(code, &seen.stdout, &seen.stderr));
        }
        () = cx.cancel().cancelled() => OpError::cancelled(format!("{what} was cancelled")),
        limit = late(cx) => OpError::timeout(format!("{what} took longer than {limit:?}")),
    };
    let cut = cut.detail("stdout", seen.stdout.end()).detail("stderr", seen.stderr.end());
    Err(match tokio::time::timeout(END_WAIT, ended(&*engine, &id, ender)).await {
        Ok(true) => cut.hint("it was ended").detail("ended", true),
        _ => cut
            .hint(
                "it may go on: it could not be ended, for which the container needs `sh`, `grep` and `kill`",
            )
            .detail("ended", false),
    })
}

/// How the program is run, as it was asked for.
fn exec_config(cx: &Ctx, cmd: Vec<String>, mark: &str, options: &ExecOptions) -> Result<ExecConfig, OpError> {
    let mut environment = vec![mark.to_owned()];
    environment.extend(options.environment.plain.iter().map(|(key, value)| format!("{key}={value}")));
    for (key, secret) in &options.environment.secrets {
        environment.push(format!("{key}={}", *cx.open_text(secret)?));
    }
    Ok(ExecConfig {
        attach_stdin: Some(options.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(cmd),
        env: Some(environment),
        user: options.user.clone(),
        working_dir: options.workdir.clone(),
        privileged: options.privileged.then_some(true),
        ..Default::default()
    })
}

/// The variable that programs of an effect have, with its value.
pub(crate) fn mark(cx: &Ctx) -> String {
    let digest = blake3::hash(cx.key().as_bytes()).to_hex();
    format!("{MARK}={}", &digest[..MARK_DIGITS])
}

/// Waits until the time of the call is over; gives how long that was.
async fn late(cx: &Ctx) -> Duration {
    match cx.timeout() {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Whether what was started is no more.
pub(crate) async fn ended(engine: &dyn Engine, container: &str, ender: ExecConfig) -> bool {
    let Ok(exec) = engine.exec(container, ender).await else { return false };
    let mut output = engine.exec_start(&exec, None);
    while output.next().await.is_some() {}
    matches!(engine.exec_code(&exec).await, Ok(Some(0)))
}

/// What a program wrote so far.
#[derive(Default)]
struct Seen {
    stdout: Capture,
    stderr: Capture,
    limit: u64,
}

impl Seen {
    /// Starts a program and reads what it writes until it ends; its exit code.
    async fn until_end(
        &mut self,
        engine: &dyn Engine,
        container: &str,
        exec: &str,
        stdin: Option<Bytes>,
    ) -> Result<Option<i64>, OpError> {
        let stdin = stdin.map(|bytes| stream::once(ready(bytes)).boxed() as Input);
        let mut output = engine.exec_start(exec, stdin);
        while let Some(chunk) = output.next().await {
            let chunk = told(engine, container, chunk)?;
            let capture = if chunk.stream == Channel::Stdout { &mut self.stdout } else { &mut self.stderr };
            capture.take(&chunk.bytes, self.limit);
        }
        told(engine, container, engine.exec_code(exec).await)
    }
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
