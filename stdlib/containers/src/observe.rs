//! Looking at containers for a while: logs, and waiting.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use futures_util::StreamExt;
use hob_model::{OpError, Value};
use hob_primitive::{Choice, Ctx, FromValue, Mismatch, Options};
use regex::Regex;

use crate::life::{self, engine, told};
use crate::port::{Channel, Chunk, Engine, LogQuery};
use crate::view;

/// How many lines a call gives unless `lines` says otherwise.
pub(crate) const LINES: u64 = 1000;

/// The most that `lines` may say.
pub(crate) const LINES_MAX: u64 = 100_000;

/// Lines that are longer are cut.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// How often a container is looked at while it is waited for. The API's own waiting knows no health.
const LOOK_MILLISECONDS: u64 = 200;

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Pattern(Regex);

impl FromValue for Pattern {
    const KIND: &'static str = "string";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        if text.len() > PATTERN_BYTES_MAX {
            let message = format!("a pattern is not longer than {PATTERN_BYTES_MAX} bytes");
            return Err(Mismatch { message, hint: None });
        }
        let wrong = |error: regex::Error| Mismatch { message: error.to_string(), hint: None };
        Regex::new(&text).map(Self).map_err(wrong)
    }
}

/// A point in time: RFC 3339, or a duration before now.
#[derive(Debug)]
pub(crate) enum Moment {
    /// A time.
    At(jiff::Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl FromValue for Moment {
    const KIND: &'static str = "time or duration";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value.clone())?;
        match text.parse() {
            Ok(time) => Ok(Self::At(time)),
            Err(_) => Duration::from_value(value).map(Self::Ago).map_err(|_| Mismatch {
                message: format!("\"{text}\" is no time"),
                hint: Some(
                    "write \"2026-01-02T03:04:05Z\", or a duration such as \"1h\" for so long ago".to_owned(),
                ),
            }),
        }
    }
}

impl Moment {
    /// Seconds since the epoch.
    fn seconds(&self, cx: &Ctx) -> i64 {
        match self {
            Self::At(time) => time.as_second(),
            Self::Ago(ago) => {
                let now = cx.now().to_string().parse().map_or(0, |now: jiff::Timestamp| now.as_second());
                now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX))
            }
        }
    }
}

/// Where lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(crate) enum Source {
    /// Both streams.
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Options of `containers::logs`.
#[derive(Debug, Options)]
pub(crate) struct LogsOptions {
    /// How many of the last lines are looked at; with `follow`, how many are given at most.
    #[option(default = "LINES")]
    lines: u64,
    /// Only what was written since: a time, or a duration before now.
    since: Option<Moment>,
    /// Only what was written before: a time, or a duration before now.
    until: Option<Moment>,
    /// Only lines that this pattern fits.
    grep: Option<Pattern>,
    /// `"stdout"`, `"stderr"` or `"all"`.
    #[option(default = "Source::All")]
    stream: Source,
    /// How long to wait for further lines; no longer than it runs.
    follow: Option<Duration>,
    /// With `follow`: the line that ends it.
    until_match: Option<Pattern>,
    /// The engine's socket: a path, `unix://…` or `tcp://…`.
    socket: Option<String>,
}

/// The lines that a container wrote.
pub(crate) async fn logs(cx: &Ctx, name: &str, options: LogsOptions) -> Result<Value, OpError> {
    if options.lines > LINES_MAX {
        return Err(OpError::invalid(format!("option `lines`: more than {LINES_MAX}")));
    }
    let engine = engine(cx, options.socket.as_deref()).await?;
    let found = life::existing(&*engine, name).await?;
    let query = LogQuery {
        follow: options.follow.is_some() && life::is_running(&found),
        tail: Some(options.lines),
        since: options.since.as_ref().map(|moment| moment.seconds(cx)),
        until: options.until.as_ref().map(|moment| moment.seconds(cx)),
    };
    let mut lines = Lines { options: &options, found: Vec::new() };
    let mut chunks = engine.logs(&life::id(&found), query);
    let mut partial: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let reading = async {
        while let Some(chunk) = chunks.next().await {
            let Chunk { stream, bytes } = told(&*engine, name, chunk)?;
            let rest = &mut partial[usize::from(stream == Channel::Stderr)];
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                rest.extend_from_slice(&piece[..piece.len().min(LINE_BYTES_MAX.saturating_sub(rest.len()))]);
                if piece.ends_with(b"\n") && lines.take(stream, &std::mem::take(rest)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    match options.follow {
        Some(follow) => tokio::time::timeout(follow, reading).await.unwrap_or(Ok(()))?,
        None => reading.await?,
    }
    for (stream, rest) in [Channel::Stdout, Channel::Stderr].into_iter().zip(&partial) {
        if !rest.is_empty() {
            lines.take(stream, rest);
        }
    }
    Ok(Value::Array(lines.found))
}

struct Lines<'a> {
    options: &'a LogsOptions,
    found: Vec<Value>,
}

impl Lines<'_> {
    /// Takes a line with the time in front of it; whether it was the last one wanted.
    fn take(&mut self, stream: Channel, line: &[u8]) -> bool {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        let (at, text) = match text.split_once(' ') {
            Some((at, rest)) if at.parse::<jiff::Timestamp>().is_ok() => (Some(at), rest),
            // An empty line is its time alone.
            None if text.parse::<jiff::Timestamp>().is_ok() => (Some(text), ""),
            _ => (None, text),
        };
        let name = if stream == Channel::Stdout { "stdout" } else { "stderr" };
        let wanted = matches!(
            (self.options.stream, stream),
            (Source::All, _) | (Source::Stdout, Channel::Stdout) | (Source::Stderr, Channel::Stderr)
        );
        if wanted && self.options.grep.as_ref().is_none_or(|grep| grep.0.is_match(text)) {
            self.found.push(Value::map([
                ("at", Value::from(at)),
                ("stream", Value::from(name)),
                ("line", Value::from(text)),
            ]));
        }
        let last = self.options.until_match.as_ref().is_some_and(|until| until.0.is_match(text));
        last || self.found.len() as u64 >= self.options.lines
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(crate) enum Condition {
    /// It does not run.
    Stopped,
    /// It runs.
    Running,
    /// Its health check says so.
    Healthy,
    /// It is gone.
    Removed,
}

/// Options of `containers::wait`.
#[derive(Debug, Options)]
pub(crate) struct WaitOptions {
    /// `"stopped"`, `"running"`, `"healthy"` or `"removed"`.
    #[option(default = "Condition::Stopped")]
    until: Condition,
    /// The engine's socket: a path, `unix://…` or `tcp://…`.
    socket: Option<String>,
}

/// Waits until a container is in a condition.
pub(crate) async fn wait(cx: &Ctx, name: &str, options: WaitOptions) -> Result<Value, OpError> {
    let engine = engine(cx, options.socket.as_deref()).await?;
    // By its id: another one that takes its name is not what was meant.
    let first = match options.until {
        Condition::Removed => life::find(&*engine, name).await?,
        _ => Some(life::existing(&*engine, name).await?),
    };
    let Some(id) = first.map(|found| life::id(&found)) else { return Ok(Value::Unit) };
    loop {
        if let Some(value) = reached(&*engine, name, &id, options.until).await? {
            return Ok(value);
        }
        let pause = tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS));
        tokio::select! {
            () = cx.cancel().cancelled() => return Err(OpError::cancelled(format!("waiting for {name}"))),
            () = pause => {}
        }
    }
}

async fn reached(
    engine: &dyn Engine,
    name: &str,
    id: &str,
    until: Condition,
) -> Result<Option<Value>, OpError> {
    let Some(found) = life::find(engine, id).await? else {
        return match until {
            Condition::Removed => Ok(Some(Value::Unit)),
            _ => Err(OpError::not_found(format!("container {name} was removed while it was waited for"))),
        };
    };
    let running = life::is_running(&found);
    let there = match until {
        Condition::Stopped => !running && life::was_started(&found),
        Condition::Running => running,
        Condition::Removed => false,
        Condition::Healthy => match health(&found) {
            Some(health) => health == "healthy",
            None => {
                return Err(OpError::invalid(format!("container {name} has no health check"))
                    .hint("give it `healthcheck`, or wait for what it serves with a readiness gate"));
            }
        },
    };
    if !there && until == Condition::Healthy && !running && life::was_started(&found) {
        let code = found.state.as_ref().and_then(|state| state.exit_code);
        return Err(
            OpError::failed(format!("container {name} ended before it was healthy")).detail("code", code)
        );
    }
    Ok(there.then(|| view::details(&found)))
}

fn health(found: &ContainerInspectResponse) -> Option<String> {
    let health = found.state.as_ref()?.health.as_ref()?.status?.to_string();
    (!["none", ""].contains(&health.as_str())).then_some(health)
}

/// An inspection in the API's own form.
pub(crate) fn whole(found: &ContainerInspectResponse) -> Result<Value, OpError> {
    let unreadable = |error: String| OpError::failed(format!("the engine's answer cannot be read: {error}"));
    let json = serde_json::to_value(found).map_err(|error| unreadable(error.to_string()))?;
    Value::from_json(json).map_err(|error| unreadable(error.to_string()))
}

/// What pruning gives.
pub(crate) fn pruned(removed: Vec<String>, freed_bytes: u64) -> Value {
    Value::map([("removed", Value::from(removed)), ("freed_bytes", Value::from(freed_bytes))])
}
