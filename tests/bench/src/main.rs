//! Programs that measure hob. Each prints its workload, the machine, medians and ratios; `README.md` says how to run
//! them and what the numbers mean.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // programs that measure

mod alerts;
mod boot;
mod check;
mod durable;
mod floor;
mod lab;
mod machine;
mod plan;
mod process;
mod process_tree;
mod prompt;
mod python;
mod replay;
mod sample;
mod schedules;
mod scrape;
mod server;
mod sleepers;
mod webhook;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures hob. Every number holds for this machine, this disk and its load at that time.
#[derive(Parser)]
struct Arguments {
    /// The directory whose disk is measured; a temporary one in it is used and removed.
    #[arg(long, global = true, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// Sleeping runs: memory, start-up, lateness.
    Sleepers(sleepers::Options),
    /// Durable runs of 3 and 40 steps in process.
    Durable(durable::Options),
    /// Durable runs over the webhook of a `hob up`.
    Webhook(webhook::Options),
    /// A boot of 30 containers in 5 tiers, beside the engine alone.
    Boot(boot::Options),
    /// A plan of 200 services with nothing to do, beside Ansible and pyinfra.
    Plan(plan::Options),
    /// Many schedules: due together, spread over a minute, and idle.
    Schedules(schedules::Options),
    /// Replaying long runs.
    Replay(replay::Options),
    /// Checking and completing scripts.
    Check(check::Options),
    /// `hob run` as a whole process.
    Process(process::Options),
    /// `hob repl` to its first prompt.
    Prompt(prompt::Options),
    /// 1,000 rules of alerts that are asked each second: processor time
    Alerts(alerts::Options),
    /// Scrapes of `/metrics` of a `hob up` with 200 services.
    Scrape(scrape::Options),
    /// What `sleepers` measures in a fresh process.
    #[command(hide = true)]
    SleepersChild(sleepers::ChildOptions),
}

fn main() {
    let arguments = Arguments::parse();
    if let Program::SleepersChild(options) = &arguments.program {
        return sleepers::child(options);
    }
    let root = tempfile::Builder::new().prefix("hob-bench-").tempdir_in(&arguments.dir).unwrap();
    machine::describe(root.path());
    match &arguments.program {
        Program::Sleepers(options) => sleepers::measure(root.path(), options),
        Program::Durable(options) => durable::measure(root.path(), options),
        Program::Webhook(options) => webhook::measure(root.path(), options),
        Program::Boot(options) => boot::measure(root.path(), options),
        Program::Plan(options) => plan::measure(root.path(), options),
        Program::Schedules(options) => schedules::measure(root.path(), options),
        Program::Replay(options) => replay::measure(root.path(), options),
        Program::Check(options) => check::measure(options),
        Program::Process(options) => process::measure(root.path(), options),
        Program::Prompt(options) => prompt::measure(root.path(), options),
        Program::Alerts(options) => alerts::measure(root.path(), options),
        Program::Scrape(options) => scrape::measure(root.path(), options),
        Program::SleepersChild(_) => unreachable!("it was taken above"),
    }
    machine::load();
}
