//! The binary: commands and what they print.

mod args;
mod assemble;
mod commands;
mod context;
mod input;
mod loader;
mod manager;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::context::{Context, Outcome};

fn main() -> ExitCode {
    // Parsing and evaluating go as deep as a script does, which a main thread's stack may not allow.
    let builder = std::thread::Builder::new().name("hob".into()).stack_size(hob_engine::SCRIPT_STACK_BYTES);
    match builder.spawn(command).map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => exit,
        _ => ExitCode::from(101),
    }
}

/// Carries out the command line.
fn command() -> ExitCode {
    let cli = Cli::parse();
    let context = Context::new(cli.global.clone());
    start_tracing(&cli.global);
    let outcome = dispatch(&context, cli.command);
    context.close();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.report(&failure);
            failure.exit.into()
        }
    }
}

/// Sends hob's own traces to standard error: warnings, or more with `-v`.
fn start_tracing(global: &args::Global) {
    // What the library of backups logs, its errors and results say as well.
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error,rustic_core=off",
        (_, 0) => "warn,rustic_core=off",
        (_, 1) => "info,hob=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let format =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Filtered).with_target(false);
    // A second subscriber (in tests of this process) is no reason to fail.
    let _ = format.with_ansi(false).try_init();
}

/// Standard error, without secrets. Each event of the log is written in one piece.
struct Filtered;

impl std::io::Write for Filtered {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let line = hob_primitive::filtered(String::from_utf8_lossy(text).into_owned());
        std::io::stderr().write_all(line.as_bytes()).map(|()| text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Run(args) => commands::run::run(context, &args),
        Command::Eval(args) => commands::run::eval(context, &args),
        Command::Repl(args) => commands::repl::repl(context, &args),
        Command::Check(args) => commands::check::check(context, &args),
        Command::Test(args) => commands::test::test(context, &args.path),
        Command::Runs(command) => commands::runs::dispatch(context, command),
        Command::Replay(args) => commands::replay::replay(context, &args),
        Command::Schedule(command) => commands::schedule::dispatch(context, command),
        Command::Events(command) => commands::events::dispatch(context, command),
        Command::Backup(command) => commands::backup::dispatch(context, command),
        Command::Alerts(command) => commands::alerts::dispatch(context, &command),
        Command::Notify(command) => commands::notify::dispatch(context, &command),
        Command::Flow(command) => commands::flow::dispatch(context, &command),
        Command::Logs(args) => commands::logs::logs(context, &args),
        Command::Journal(command) => commands::journal::dispatch(context, command),
        Command::State(command) => commands::state::dispatch(context, command),
        Command::Secrets(command) => commands::secrets::dispatch(context, command),
        Command::Doc(args) => commands::doc::doc(context, args.name.as_deref()),
        Command::Explain(args) => commands::doc::explain(context, args.code.as_deref()),
        Command::Completions(args) => commands::manual::completions(context, args.shell),
        Command::Man(args) => commands::manual::man(context, &args.directory),
        Command::Definitions => commands::manual::definitions(context),
        Command::Lsp => commands::lsp::lsp(),
        Command::Plan(args) => commands::homelab::plan(context, &args),
        Command::Apply(args) => commands::homelab::apply(context, &args),
        Command::Up(args) => commands::homelab::up(context, &args),
        Command::Down(args) => commands::homelab::down(context, &args.path),
        Command::Boot(args::BootCommand::Explain) => commands::boot::explain(context),
        Command::Install(args) => commands::install::install(context, &args),
        Command::Top => commands::top::show(context),
        Command::Gpu => commands::gpu::show(context),
        Command::Metrics(args) => commands::metrics::show(context, &args),
        Command::Setup(command) => commands::setup::dispatch(context, &command),
        Command::Status => commands::service::status(context),
        Command::Start(args) => commands::service::command(context, "start", &args.service),
        Command::Stop(args) => commands::service::command(context, "stop", &args.service),
        Command::Restart(args) => commands::service::command(context, "restart", &args.service),
        Command::Release(args) => commands::service::command(context, "release", &args.service),
        Command::Update(args) => commands::update::update(context, &args),
        Command::Hold(args) => commands::service::hold(context, &args),
    }
}
