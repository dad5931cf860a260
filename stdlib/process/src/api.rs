//! The operations.

pub use operations::primitive;

use hob_primitive::primitive;

/// Runs programs, and looks at the ones that run.
///
/// A program is run without a shell: `process::run(["rsync", "-a", source, target])` passes each item as it is, so
/// that a space or a quote in a file name does no harm. `process::shell` is for pipes and redirections.
#[primitive(name = "process")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, Probe};

    use crate::command::{self, CommandLine, GRACE, GRACE_MAX, RunOptions};
    use crate::outcome::{Capture, Ending, Finished};
    use crate::port::{ProcessPort, Signal};

    /// The shell that `process::shell` asks.
    const SHELL: &str = "/bin/sh";

    /// Runs a program to its end and gives what it wrote.
    ///
    /// `cmd` is an array of program and arguments, or a text that is split like a shell splits it, quotes included,
    /// without a shell. The result has `code`, `stdout`, `stderr`, `signal` (`"SIGKILL"`, or `()`; the code is then
    /// 128 and the signal's number), `duration_ms`, `stdout_truncated`, `stderr_truncated` and `left` (processes of
    /// its session that were kept or could not be ended).
    ///
    /// The program does not see the environment that hob was started with, only `PATH`, `HOME`, `USER`, `LANG`, `TZ`,
    /// what was handed to the run, and `env`. It leads a session of its own, without a terminal. On a timeout or a
    /// cancel the whole session gets SIGTERM, and SIGKILL after `grace`; when the program has ended by itself, what
    /// it left running is ended too, unless `background: "keep"`.
    ///
    /// A dry run starts nothing: the program counts as one that succeeds and writes nothing.
    ///
    /// Class `once`: nobody can tell afterwards whether an arbitrary program has done its work. `idempotent: true`
    /// says that this one may simply run again. While an effect in doubt has children that live, it is not done again.
    ///
    /// Fails with `not_found` when there is no such program (nothing happened then), `failed` when the exit code is
    /// not in `success`, with `code`, `stdout` and `stderr` (their ends) in `e.details`, and `timeout`.
    ///
    /// ```rhai
    /// let it = process::run(["echo", "two words"]);
    /// it.code == 0 && it.stdout == "two words\n"
    /// ```
    ///
    /// ```rhai
    /// let sorted = process::run("sort -r", #{ stdin: "a\nb\n", env: #{ LC_ALL: "C" }, timeout: "10s" });
    /// sorted.stdout == "b\na\n"
    /// ```
    ///
    /// ```rhai
    /// let code = 0;
    /// try { process::run(["cat", "absent"]); } catch (e) { code = e.details.code; }
    /// code == 1
    /// ```
    #[operation(once, permission = "process:{cmd.program}", grace = "15s", returns = "map", model = model_run)]
    async fn run(cx: Ctx, cmd: CommandLine, options: RunOptions) -> Result<Value, OpError> {
        carry_out(&cx, cmd, options).await
    }

    /// Runs a text with `/bin/sh -c` and gives what it wrote.
    ///
    /// As `process::run` in all else. Never build the text from input: pass it in `env`, and quote the variable:
    /// `process::shell("rm -- \"$FILE\"", #{ env: #{ FILE: file } })`.
    ///
    /// Class `once`: as `process::run`.
    ///
    /// ```rhai
    /// process::shell("printf '%s\n' b a | sort | head -n 1").stdout.trim() == "a"
    /// ```
    #[operation(once, permission = "process:sh", grace = "15s", returns = "map", model = model_shell)]
    async fn shell(cx: Ctx, text: String, options: RunOptions) -> Result<Value, OpError> {
        carry_out(&cx, shell_line(text)?, options).await
    }

    fn shell_line(text: String) -> Result<CommandLine, OpError> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err(OpError::invalid("a text for the shell is not empty and has no NUL character"));
        }
        Ok(CommandLine { program: SHELL.to_owned(), args: vec!["-c".to_owned(), text] })
    }

    async fn carry_out(cx: &Ctx, line: CommandLine, options: RunOptions) -> Result<Value, OpError> {
        let program = line.program.clone();
        let command = command::command(cx, line, &options)?;
        let finished = cx.port::<dyn ProcessPort>()?.run(command).await?;
        finished.result(&program, &options)
    }

    fn model_run(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let line: CommandLine = args.next("cmd")?;
        modelled(cx, line, args)
    }

    fn model_shell(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let line = shell_line(args.next("text")?)?;
        modelled(cx, line, args)
    }

    /// What a dry run goes on with: success, and nothing written.
    fn modelled(cx: &Ctx, line: CommandLine, mut args: Args) -> Result<Value, OpError> {
        let options: RunOptions = args.options()?;
        let program = line.program.clone();
        command::command(cx, line, &options)?;
        let code = options.success.first().and_then(|code| i32::try_from(*code).ok());
        let finished = Finished {
            ending: Ending::Exited(code.unwrap_or_default()),
            cut: None,
            stdout: Capture::default(),
            stderr: Capture::default(),
            duration: Duration::ZERO,
            left: Vec::new(),
        };
        finished.result(&program, &options)
    }

    /// Options of `process::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Only programs with this name.
        name: Option<String>,
        /// Only processes of this user.
        user: Option<String>,
    }

    /// Lists the processes of this machine.
    ///
    /// Each has `pid`, `ppid`, `name`, `command` (an array), `user`, `state`, `memory_bytes`, `started_at` and
    /// `identity` (which, unlike the pid, is never given to another process).
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// process::list().some(|p| p.pid == 1) && process::list(#{ name: "no-such-program" }).is_empty()
    /// ```
    #[operation(observe, permission = "process.list", returns = "array")]
    fn list(cx: &Ctx, options: ListOptions) -> Result<Value, OpError> {
        let all = cx.port::<dyn ProcessPort>()?.list()?;
        let wanted = all.into_iter().filter(|process| {
            options.name.as_ref().is_none_or(|name| process.name == *name)
                && options.user.as_ref().is_none_or(|user| process.user == *user)
        });
        Ok(Value::Array(wanted.map(Value::from).collect()))
    }

    /// Sends a signal to a process; gives whether there was such a process.
    ///
    /// `signal` is a name such as `"HUP"` or `"SIGUSR1"`.
    ///
    /// Class `once`: a second SIGHUP is a second reload, and a process does not tell what it was sent.
    ///
    /// A dry run looks whether there is such a process.
    ///
    /// Fails with `denied` when the process belongs to somebody else.
    ///
    /// ```rhai
    /// process::list(#{ name: "no-such-program" }).for_each(|p| process::signal(p.pid, "HUP"));
    /// ```
    #[operation(once, permission = "process.signal", returns = "bool", model = model_signal)]
    fn signal(cx: &Ctx, pid: u32, signal: Signal) -> Result<bool, OpError> {
        let port = cx.port::<dyn ProcessPort>()?;
        match port.identity(own_business(pid)?)? {
            Some(identity) => port.signal(pid, &identity, signal),
            None => Ok(false),
        }
    }

    fn model_signal(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let pid = own_business(args.next("pid")?)?;
        let _: Signal = args.next("signal")?;
        there(cx, pid)
    }

    fn there(cx: &Ctx, pid: u32) -> Result<Value, OpError> {
        Ok(Value::from(cx.port::<dyn ProcessPort>()?.identity(pid)?.is_some()))
    }

    /// Options of `process::stop`.
    #[derive(Debug, Options)]
    struct StopOptions {
        /// How long the process may take to end after SIGTERM before it gets SIGKILL.
        #[option(default = "GRACE")]
        grace: Duration,
    }

    impl StopOptions {
        fn check(&self) -> Result<(), OpError> {
            if self.grace <= GRACE_MAX {
                return Ok(());
            }
            let most = hob_model::duration::format(GRACE_MAX);
            Err(OpError::invalid(format!("option `grace`: longer than {most}")))
        }
    }

    /// Ends a process: SIGTERM, and SIGKILL after a grace; gives whether there was such a process.
    ///
    /// Class `keyed`: the intent notes which process had the pid (boot and start time), so that after a crash it can
    /// be seen whether that one is gone, and no other is ended in its place. Only the one process is ended, not its
    /// children; services and containers have operations of their own.
    ///
    /// A dry run looks whether there is such a process.
    ///
    /// Fails with `denied` when the process belongs to somebody else.
    ///
    /// ```rhai
    /// for p in process::list(#{ name: "no-such-program" }) { process::stop(p.pid, #{ grace: "5s" }); }
    /// ```
    #[operation(keyed, permission = "process.stop", grace = "15s", returns = "bool", model = model_stop, intent = note_process, probe = probe_stop)]
    async fn stop(cx: Ctx, pid: u32, options: StopOptions) -> Result<bool, OpError> {
        options.check()?;
        match cx.noted().as_str() {
            Some(identity) => {
                let port = cx.port::<dyn ProcessPort>()?;
                port.stop(pid, identity, options.grace, cx.cancel().clone()).await
            }
            None => Ok(false),
        }
    }

    fn model_stop(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let pid = own_business(args.next("pid")?)?;
        args.options::<StopOptions>()?.check()?;
        there(cx, pid)
    }

    fn note_process(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let pid = own_business(args.next("pid")?)?;
        Ok(cx.port::<dyn ProcessPort>()?.identity(pid)?.into())
    }

    fn probe_stop(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let pid: u32 = args.next("pid")?;
        let Some(noted) = cx.noted().as_str() else {
            return Ok(Probe::Done(Value::Bool(false)));
        };
        let now = cx.port::<dyn ProcessPort>()?.identity(pid)?;
        Ok(match now.as_deref() == Some(noted) {
            true => Probe::NotDone,
            false => Probe::Done(Value::Bool(true)),
        })
    }

    /// Refuses pids that no script has a reason to signal.
    fn own_business(pid: u32) -> Result<u32, OpError> {
        match pid {
            0 | 1 => Err(OpError::invalid(format!("process {pid} is not a script's to signal"))
                .hint("to reboot or shut down, use the operations of `host`")),
            pid if pid == std::process::id() => {
                Err(OpError::invalid("that is hob itself").hint("to end this run, use `fail` or return"))
            }
            pid => Ok(pid),
        }
    }
}
