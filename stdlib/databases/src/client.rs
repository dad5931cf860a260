//! Programs at a server: what they read and write.
#![allow(clippy::disallowed_methods)] // It takes a real clock, for how long a program may take.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hob_model::{ErrorKind, OpError, Secret, SecretPart, Value};
use hob_primitive::{Ctx, ProgramEnd, ProgramLine, Progress, Room, RunningProgram};

use crate::{file, problem};

/// The most that an answer may have, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How many bytes go by between two reports of progress.
const REPORT_BYTES: u64 = 8 << 20;

/// A server as programs reach it.
pub(crate) struct Client {
    pub(crate) cx: Ctx,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) room: Room,
    pub(crate) run_as: Option<String>,
    pub(crate) env: Vec<(String, Secret)>,
    /// What each program gets first.
    pub(crate) connection: Vec<String>,
}

/// A variable that is no secret.
pub(crate) fn plain(name: &str, value: &str) -> (String, Secret) {
    (name.to_owned(), SecretPart::Text(value.to_owned()).into())
}

/// A program with its arguments, and further variables.
pub(crate) struct Call {
    pub(crate) program: &'static str,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, Secret)>,
}

impl Call {
    pub(crate) fn new<T: Into<String>>(program: &'static str, args: impl IntoIterator<Item = T>) -> Self {
        Self { program, args: args.into_iter().map(Into::into).collect(), env: Vec::new() }
    }
}

impl Client {
    /// The program and its arguments.
    pub(crate) fn words(&self, call: &Call) -> Vec<String> {
        let program = [call.program.to_owned()].into_iter();
        program.chain(self.connection.iter().cloned()).chain(call.args.iter().cloned()).collect()
    }

    fn start(&self, call: &Call, stdin: Option<File>) -> Result<Box<dyn RunningProgram>, OpError> {
        let (begun, cx) = (Instant::now(), self.cx.clone());
        let is_late = move || cx.timeout().is_some_and(|limit| begun.elapsed() >= limit);
        let cx = self.cx.clone();
        let line = ProgramLine {
            words: self.words(call),
            env: self.env.iter().chain(&call.env).cloned().collect(),
            user: self.run_as.clone(),
            cwd: self.cx.cwd().to_owned(),
            stdin: stdin.map(|it| Box::new(it) as Box<dyn Read + Send>),
            is_over: Arc::new(move || cx.cancel().is_cancelled() || is_late()),
        };
        self.room.start(&self.cx, line).map_err(|error| match error.kind {
            ErrorKind::NotFound if self.room == Room::Host && error.message.starts_with(call.program) => {
                problem::missing(call.program, &self.room)
            }
            _ => error,
        })
    }

    fn finish(&self, call: &Call, program: &mut dyn RunningProgram) -> Result<ProgramEnd, OpError> {
        let end = program.finish()?;
        let what = format!("{} at {}", call.program, self.name);
        if self.cx.cancel().is_cancelled() {
            return Err(OpError::cancelled(format!("{what} was cancelled")));
        }
        if end.code.is_none() {
            return Err(
                OpError::timeout(format!("{what} was ended")).hint("`timeout` sets how long it may take")
            );
        }
        Ok(end)
    }

    fn judge(&self, call: &Call, end: &ProgramEnd) -> Result<(), OpError> {
        if end.is_good() { Ok(()) } else { Err(problem::of(&self.name, call.program, &self.room, end)) }
    }

    /// What a program writes.
    pub(crate) fn answer(&self, call: &Call) -> Result<String, OpError> {
        let (text, end) = self.run(call, None)?;
        self.judge(call, &end)?;
        Ok(text)
    }

    /// Gives a program a file to read.
    pub(crate) fn feed(&self, call: &Call, from: File) -> Result<(), OpError> {
        let end = self.feed_anyway(call, from)?;
        self.judge(call, &end)
    }

    /// As [`Client::feed`]; how it ended.
    pub(crate) fn feed_anyway(&self, call: &Call, from: File) -> Result<ProgramEnd, OpError> {
        Ok(self.run(call, Some(from))?.1)
    }

    fn run(&self, call: &Call, stdin: Option<File>) -> Result<(String, ProgramEnd), OpError> {
        let mut program = self.start(call, stdin)?;
        let (mut kept, mut part) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let read = program.read(&mut part).map_err(|error| OpError::io(&error, call.program))?;
            if read == 0 {
                break;
            }
            if kept.len() + read > ANSWER_BYTES_MAX {
                return Err(
                    OpError::failed(format!("{} answers more than 16 MiB", self.name)).hint("ask for less")
                );
            }
            kept.extend_from_slice(&part[..read]);
        }
        let end = self.finish(call, &mut *program)?;
        Ok((String::from_utf8_lossy(&kept).into_owned(), end))
    }

    /// Has what a program writes become a file: whole, or as it was before. It must begin with `head`.
    pub(crate) fn write(&self, call: &Call, path: &Path, head: &[u8]) -> Result<(), OpError> {
        file::write(path, |to| {
            let mut from =
                Counted { program: self.start(call, None)?, cx: &self.cx, name: &self.name, done: (0, 0) };
            file::copy(&mut from, to, path)?;
            let end = self.finish(call, &mut *from.program)?;
            self.judge(call, &end)?;
            match file::open(&file::unfinished(path))?.1.starts_with(head) {
                true => Ok(()),
                false => Err(OpError::failed(format!("{} at {} wrote no dump", call.program, self.name))),
            }
        })
    }

    /// A program as `backup::stream` takes it.
    pub(crate) fn described(&self, call: &Call, place: Vec<(&'static str, Value)>) -> Value {
        let env = self.env.iter().chain(&call.env).map(|(name, value)| {
            let value = match value.parts() {
                [SecretPart::Text(text)] => Value::from(text.as_str()),
                _ => Value::Secret(value.clone()),
            };
            (name.clone(), value)
        });
        let words = self.words(call).into_iter().map(Value::from).collect();
        let user = self.run_as.iter().map(|user| ("user", Value::from(user.as_str())));
        let own = [("command", Value::Array(words)), ("env", Value::Map(env.collect()))];
        Value::map(own.into_iter().chain(place).chain(user))
    }
}

/// Tells how much was read.
struct Counted<'c> {
    program: Box<dyn RunningProgram>,
    cx: &'c Ctx,
    name: &'c str,
    done: (u64, u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.program.read(buffer)?;
        self.done.0 += read as u64;
        if self.done.0 - self.done.1 >= REPORT_BYTES {
            self.done.1 = self.done.0;
            let message = format!("dumping {}", self.name);
            self.cx.progress(Progress { message, done: self.done.0, total: None, bytes: true });
        }
        Ok(read)
    }
}
