//! The operation that gives what a snapshot holds to a program.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What goes back into programs; joined with the rest of `backup`.
#[primitive(name = "backup")]
mod operations {
    use std::io::{self, Read};
    use std::sync::Arc;
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Ctx, Options, ProgramLine, SecretText};
    use rustic_core::Repository;
    use rustic_core::repofile::Node;

    use crate::guard::Watch;
    use crate::lock::Use;
    use crate::read::ReadBack;
    use crate::repository::{Access, Place, Session, Wanted, choose};
    use crate::source::command::Command;

    /// For how long a program whose input fails is waited for, before that looks like the end of its input: it is ended
    /// within a fraction of it.
    const END_WAIT: Duration = Duration::from_secs(5);

    /// Options of `backup::feed`.
    #[derive(Debug, Options)]
    struct FeedOptions {
        /// The password of the repository.
        password: Option<SecretText>,
        /// With `snapshot: "latest"` only those with all these tags.
        tags: Option<Vec<String>>,
        /// With `snapshot: "latest"` only those of this machine.
        host: Option<String>,
        /// How long to wait for a program that has the repository for itself.
        #[option(default = "Duration::from_secs(60)")]
        wait: Duration,
    }

    /// Has a program read one file of a snapshot, without a file in between: what `backup::stream` was given goes back.
    ///
    /// `command` is as of `backup::stream`. What the program writes is passed over. A program that has not got all of the
    /// file never sees the end of its input: it is ended.
    ///
    /// It gives `snapshot` and `bytes`.
    ///
    /// Class `once`: nobody can tell afterwards what a program made of its input.
    ///
    /// Fails with `not_found` when there is no such snapshot, file or program, and with `failed` when the program does, with
    /// the end of what it complained about.
    ///
    /// ```rhai
    /// backup::init("nas", #{ password: "correct horse" });
    /// backup::stream("nas", "numbers.txt", ["seq", "1000"], #{ password: "correct horse" });
    /// backup::feed("nas", "latest", "/numbers.txt", ["grep", "-q", "^1000$"], #{ password: "correct horse" }).bytes == 3893
    /// ```
    #[operation(once, permission = "backup.feed", returns = "map")]
    fn feed(
        cx: &Ctx,
        from: Place,
        snapshot: String,
        path: String,
        command: Command,
        options: FeedOptions,
    ) -> Result<Value, OpError> {
        let program = command.permitted(cx)?;
        let line = command.line(cx)?;
        let access = Access { password: options.password, wait: options.wait };
        let session = Session::open(cx, &from, &access, Use::Reading, "restoring from")?;
        let wanted = Wanted { tags: options.tags.unwrap_or_default(), host: options.host, path: None };
        let chosen = choose(&session.snapshots()?, &snapshot, &wanted, cx.now())?;
        let repo = Arc::new(session.indexed(Repository::to_indexed)?);
        let node = repo.node_from_snapshot_and_path(&chosen, &path).ok().filter(Node::is_file);
        let node = node.ok_or_else(|| OpError::not_found(format!("the snapshot has no file {path}")))?;
        let back = ReadBack::new(&repo, node.content.unwrap_or_default(), &session.watch);
        let input = Input { back, watch: Arc::clone(&session.watch) };
        let over = Arc::clone(&session.watch);
        let room = line.room;
        let line = ProgramLine {
            words: line.words,
            env: line.env,
            user: line.user,
            cwd: line.cwd,
            stdin: Some(Box::new(input)),
            is_over: Arc::new(move || over.check().is_err()),
        };
        let mut running = room.start(cx, line)?;
        let passed = io::copy(&mut running, &mut io::sink());
        session.watch.check()?;
        passed.map_err(|error| OpError::io(&error, &program))?;
        let end = running.finish()?;
        session.watch.check()?;
        if !end.is_good() {
            return Err(OpError::failed(format!("{program} ended with {}: {}", end.told(), end.complaint))
                .hint("what it made of its input, it knows"));
        }
        let bytes = Value::from(node.meta.size);
        Ok(Value::map([("snapshot", Value::from(chosen.id.to_hex().as_str())), ("bytes", bytes)]))
    }

    /// What the program reads.
    struct Input {
        back: ReadBack,
        watch: Arc<Watch>,
    }

    impl Read for Input {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.watch.check().map_err(io::Error::other).and_then(|()| self.back.read(buffer));
            match &read {
                Ok(read) => self.watch.advance(*read as u64),
                Err(_) => std::thread::sleep(END_WAIT),
            }
            read
        }
    }
}
