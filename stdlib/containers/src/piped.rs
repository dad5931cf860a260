//! Programs in containers whose output is read while they run.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bollard::models::ExecConfig;
use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use hob_model::OpError;
use hob_primitive::{ContainerPrograms, Ctx, ProgramEnd, ProgramLine, RunningProgram};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::life::{self, engine, told};
use crate::port::{Channel, Engine, Input};
use crate::run::{END_SCRIPT, END_WAIT, ended, mark};

/// How much of what a program complains about is kept, in bytes.
const STDERR_BYTES_MAX: usize = 4 << 10;

/// How often it is looked whether a program is to end while it writes nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How many pieces of output wait for a slow reader.
const PIECES_MAX: usize = 8;

/// How much of its input is read at once, in bytes.
const INPUT_BYTES: usize = 64 << 10;

/// Starts programs in the containers of this machine's engines.
#[derive(Default)]
pub(crate) struct Inside {
    runtime: OnceLock<Runtime>,
}

impl Inside {
    /// A thread that talks to the engine; there is none before somebody asks.
    fn runtime(&self) -> &Runtime {
        self.runtime.get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let built = builder.worker_threads(1).thread_name("hob-inside").enable_all().build();
            built.expect("a machine that gives no thread runs no containers")
        })
    }
}

/// A program that was prepared, and what ends it.
struct Prepared {
    engine: Arc<dyn Engine>,
    name: String,
    container: String,
    exec: String,
    ender: ExecConfig,
}

impl Prepared {
    async fn new(cx: &Ctx, name: &str, line: &ProgramLine) -> Result<Self, OpError> {
        let engine = engine(cx, None).await?;
        let found = life::existing(&*engine, name).await?;
        if !life::is_running(&found) {
            return Err(OpError::conflict(format!("container {name} is not running"))
                .hint("start it first")
                .nothing_happened());
        }
        let mark = mark(cx);
        let mut env = vec![mark.clone()];
        for (key, secret) in &line.env {
            env.push(format!("{key}={}", String::from_utf8_lossy(&cx.open(secret)?)));
        }
        let config = ExecConfig {
            attach_stdin: Some(line.stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(line.words.clone()),
            env: Some(env),
            user: line.user.clone(),
            ..Default::default()
        };
        let ender = ExecConfig {
            attach_stdin: Some(false),
            cmd: Some(["sh", "-c", END_SCRIPT, "sh", &mark].map(str::to_owned).into()),
            env: None,
            ..config.clone()
        };
        let container = life::id(&found);
        let exec = told(&*engine, name, engine.exec(&container, config).await);
        let exec = exec.map_err(OpError::nothing_happened)?;
        Ok(Self { engine, name: name.to_owned(), container, exec, ender })
    }

    async fn end(self) {
        let _ = tokio::time::timeout(END_WAIT, ended(&*self.engine, &self.container, self.ender)).await;
    }
}

/// What is told of a program while it runs.
struct Telling {
    pieces: mpsc::Sender<Bytes>,
    complaint: Arc<Mutex<Vec<u8>>>,
    over: CancellationToken,
    is_over: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Follows a program to its end; its exit code, or nothing where it was ended.
async fn follow(it: Prepared, stdin: Option<Input>, telling: Telling) -> Result<Option<i64>, OpError> {
    let Telling { pieces, complaint, over, is_over } = telling;
    let mut output = it.engine.exec_start(&it.exec, stdin);
    let mut look = tokio::time::interval(LOOK_AGAIN);
    loop {
        let chunk = tokio::select! {
            () = over.cancelled() => break,
            _ = look.tick() => {
                if is_over() { break }
                continue;
            }
            chunk = output.next() => chunk,
        };
        let Some(chunk) = chunk else {
            let code = told(&*it.engine, &it.name, it.engine.exec_code(&it.exec).await)?;
            let silent = || OpError::failed(format!("a program in {} ended without an exit code", it.name));
            return code.map(Some).ok_or_else(silent);
        };
        let chunk = match told(&*it.engine, &it.name, chunk) {
            Ok(chunk) => chunk,
            Err(error) => {
                it.end().await;
                return Err(error);
            }
        };
        if chunk.stream == Channel::Stderr {
            let mut kept = complaint.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&chunk.bytes);
            let more = kept.len().saturating_sub(STDERR_BYTES_MAX);
            kept.drain(..more);
            continue;
        }
        tokio::select! {
            () = over.cancelled() => break,
            sent = pieces.send(chunk.bytes) => if sent.is_err() { break },
        }
    }
    it.end().await;
    Ok(None)
}

/// What a reader gives, from a thread of its own: it may wait for a disk.
fn input(mut from: Box<dyn Read + Send>) -> Input {
    let (send, receive) = mpsc::channel(PIECES_MAX);
    std::thread::spawn(move || {
        let mut part = vec![0; INPUT_BYTES];
        while let Ok(read @ 1..) = from.read(&mut part) {
            if send.blocking_send(Bytes::copy_from_slice(&part[..read])).is_err() {
                return;
            }
        }
    });
    stream::unfold(receive, |mut receive| async { receive.recv().await.map(|part| (part, receive)) }).boxed()
}

impl ContainerPrograms for Inside {
    fn start(
        &self,
        cx: &Ctx,
        container: &str,
        line: ProgramLine,
    ) -> Result<Box<dyn RunningProgram>, OpError> {
        let prepared = self.runtime().block_on(Prepared::new(cx, container, &line))?;
        let (send, pieces) = mpsc::channel(PIECES_MAX);
        let (complaint, over) = (Arc::default(), CancellationToken::new());
        let telling = Telling {
            pieces: send,
            complaint: Arc::clone(&complaint),
            over: over.clone(),
            is_over: line.is_over,
        };
        let task = self.runtime().spawn(follow(prepared, line.stdin.map(input), telling));
        let runtime = self.runtime().handle().clone();
        Ok(Box::new(Piped {
            pieces,
            part: Bytes::new(),
            complaint,
            over,
            task: Some(task),
            runtime,
            end: None,
        }))
    }
}

/// A program in a container, which ends with its owner.
struct Piped {
    pieces: mpsc::Receiver<Bytes>,
    part: Bytes,
    complaint: Arc<Mutex<Vec<u8>>>,
    over: CancellationToken,
    task: Option<JoinHandle<Result<Option<i64>, OpError>>>,
    runtime: tokio::runtime::Handle,
    end: Option<ProgramEnd>,
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            let Some(part) = self.pieces.blocking_recv() else { return Ok(0) };
            self.part = part;
        }
        let most = self.part.len().min(buffer.len());
        self.part.copy_to_slice(&mut buffer[..most]);
        Ok(most)
    }
}

impl RunningProgram for Piped {
    fn finish(&mut self) -> Result<ProgramEnd, OpError> {
        if let Some(task) = self.task.take() {
            let followed = self.runtime.block_on(task);
            let code = followed.unwrap_or_else(|error| Err(OpError::failed(error.to_string())))?;
            let kept = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
            let complaint = String::from_utf8_lossy(&kept).trim().to_owned();
            self.end = Some(ProgramEnd { code, complaint });
        }
        self.end.clone().ok_or_else(|| OpError::failed("nobody knows how the program ended"))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.over.cancel();
        if let Some(task) = self.task.take() {
            let _ = self.runtime.block_on(task);
        }
    }
}
