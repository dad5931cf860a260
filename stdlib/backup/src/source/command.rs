//! What a program writes as a source: it goes into the repository, and never to a disk of this machine.

use std::io::{self, Read};
use std::iter::{Once, once};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hob_model::{OpError, Secret, Value};
use hob_primitive::{
    Ctx, FromValue, Mismatch, Nested, Options, ProgramLine, Room, RunningProgram, SecretTexts,
};
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ReadSource, ReadSourceEntry, RusticResult};

use crate::guard::Watch;

/// How a program is written as a map.
#[derive(Clone, Debug, Options)]
pub(crate) struct CommandOptions {
    /// The program and its arguments.
    command: Vec<String>,
    /// Its variables, which may be secrets.
    env: Option<SecretTexts>,
    /// The user of the system that it runs as.
    user: Option<String>,
    /// The service beside which it runs: in its container, or on this machine.
    service: Option<String>,
    /// The container that it runs in.
    container: Option<String>,
}

/// A program as a script names it: an array, or a map that says where it runs.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<(String, Secret)>,
    user: Option<String>,
    service: Option<String>,
    container: Option<String>,
}

impl FromValue for Command {
    const KIND: &'static str = "array or map";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Map(_) = value else {
            let words = Vec::<String>::from_value(value)?;
            return Ok(Self { words, env: Vec::new(), user: None, service: None, container: None });
        };
        let read: CommandOptions = Nested::read(value)?;
        if read.service.is_some() && read.container.is_some() {
            let hint = Some("leave one of them out".to_owned());
            return Err(Mismatch { message: "it has both `service` and `container`".to_owned(), hint });
        }
        let env = read.env.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0)).collect();
        let (user, service, container) = (read.user, read.service, read.container);
        Ok(Self { words: read.command, env, user, service, container })
    }
}

impl Command {
    /// Its program, which the run may start.
    ///
    /// # Errors
    /// `invalid` when there is none, `denied` when it may not be started.
    pub(crate) fn permitted(&self, cx: &Ctx) -> Result<String, OpError> {
        let program = self.words.first().filter(|it| !it.is_empty()).ok_or_else(|| {
            OpError::invalid("`command` is empty")
                .hint("such as [\"pg_dump\", \"--format=custom\", \"gitea\"]")
        })?;
        cx.permit(&format!("process:{}", program.rsplit('/').next().unwrap_or(program)))?;
        Ok(program.clone())
    }

    /// Where it runs.
    pub(crate) fn line(self, cx: &Ctx) -> Result<Line, OpError> {
        let room = match (self.container, self.service) {
            (Some(container), _) => Room::Container(container),
            (None, Some(service)) => Room::of_service(cx, &service)?,
            (None, None) => Room::Host,
        };
        Ok(Line { words: self.words, env: self.env, user: self.user, cwd: cx.cwd().to_owned(), room })
    }
}

/// What a program is started with.
pub(crate) struct Line {
    pub(crate) words: Vec<String>,
    /// Beside what all programs get.
    pub(crate) env: Vec<(String, Secret)>,
    pub(crate) user: Option<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) room: Room,
}

/// What a program writes. Its end is read only when it did well: a dump that broke off is none.
pub(crate) struct Output {
    name: String,
    program: Box<dyn RunningProgram>,
    watch: Arc<Watch>,
}

impl Output {
    /// Starts it.
    ///
    /// # Errors
    /// `not_found` when there is no such program, or no such secret.
    pub(crate) fn start(line: &Line, watch: &Arc<Watch>) -> Result<Self, OpError> {
        let over = Arc::clone(watch);
        let program = ProgramLine {
            words: line.words.clone(),
            env: line.env.clone(),
            user: line.user.clone(),
            cwd: line.cwd.clone(),
            stdin: None,
            is_over: Arc::new(move || over.check().is_err()),
        };
        let name = line.words.first().cloned().unwrap_or_default();
        Ok(Self { name, program: line.room.start(watch.cx(), program)?, watch: Arc::clone(watch) })
    }

    /// Whether it did well, once it writes no more.
    fn finish(&mut self) -> Result<(), OpError> {
        self.watch.check()?;
        let end = self.program.finish()?;
        if end.is_good() {
            return Ok(());
        }
        let text = format!("{} ended with {}: {}", self.name, end.told(), end.complaint);
        Err(OpError::failed(text).hint("no snapshot was written"))
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check().map_err(io::Error::other)?;
        let read = self.program.read(buffer).map_err(|error| OpError::io(&error, &self.name));
        let ended = read.and_then(|read| {
            if read == 0 && !buffer.is_empty() {
                self.finish()?;
            }
            self.watch.advance(read as u64);
            Ok(read)
        });
        ended.map_err(|error| {
            self.watch.end(error.clone());
            io::Error::other(error)
        })
    }
}

/// One file of a source, from a reader.
pub(crate) struct Single<R> {
    path: PathBuf,
    meta: Metadata,
    reader: Mutex<Option<R>>,
}

impl<R> Single<R> {
    pub(crate) fn new(path: &Path, meta: Metadata, reader: R) -> Self {
        Self { path: path.to_owned(), meta, reader: Mutex::new(Some(reader)) }
    }
}

impl<R: Read + Send + Sync + 'static> ReadSource for Single<R> {
    type Open = R;
    type Iter = Once<RusticResult<ReadSourceEntry<R>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let open = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let name = self.path.file_name().unwrap_or_default();
        let node = Node::new_node(name, NodeType::File, self.meta.clone());
        once(Ok(ReadSourceEntry { path: self.path.clone(), node, open }))
    }
}
