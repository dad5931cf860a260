//! `hob plan|apply|up|down`

use std::io::{BufRead, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::core::{Core, CoreEars, CoreParts, directory_of};
use hob_daemon::declared::read_homelab;
use hob_daemon::http::Waiters;
use hob_daemon::hub::Hub;
use hob_daemon::keeper::{self, Keeper};
use hob_daemon::metrics::RunMeter;
use hob_daemon::node::{Node, NodeParts, Purpose};
use hob_daemon::performer::AsyncCore;
use hob_daemon::schedules::Launch;
use hob_daemon::settings::{Retention, Settings, check_host};
use hob_engine::{Base, Bundle};
use hob_journal::sqlite::PrunePolicy;
use hob_journal::{Journal, JournalError, MemoryJournal, SqliteJournal};
use hob_model::{Code, Diagnostic, Level, Value, duration};
use hob_planner::{Goal, Homelab, Plan};
use hob_runs::Listener;
use hob_terminal::Role;
use hob_traces::Traces;
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::remote::client;
use super::serve::Served;
use crate::args::{ApplyArgs, GraphFormat, OnExit, PlanArgs, UpArgs};
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome, home};
use crate::loader::{self, Loaded};

/// What a loaded homelab declares; warnings about it are told.
///
/// # Errors
/// All mistakes at once, with their sources.
pub(crate) fn declared(context: &Context, loaded: &Loaded) -> Result<Homelab, Failure> {
    match look(loaded) {
        Ok((homelab, warnings)) => {
            warn(context, loaded, warnings);
            Ok(homelab)
        }
        Err(diagnostics) => Err(told(loaded, diagnostics, Exit::Failed)),
    }
}

fn told(loaded: &Loaded, diagnostics: Vec<Diagnostic>, exit: Exit) -> Failure {
    let sources = loaded.bundle.files().map(|(path, text)| (path.to_owned(), Arc::clone(text))).collect();
    Failure { diagnostics, sources, exit }
}

/// Tells what is doubtful in what was loaded, and goes on.
fn warn(context: &Context, loaded: &Loaded, mut warnings: Vec<Diagnostic>) {
    warnings.retain(|it| it.level >= Level::Warning);
    if !warnings.is_empty() && !context.global.quiet {
        context.report(&told(loaded, warnings, Exit::Done));
    }
}

/// What a loaded homelab declares, with what is to be said of it.
///
/// # Errors
/// All mistakes at once.
pub(crate) fn look(loaded: &Loaded) -> Result<(Homelab, Vec<Diagnostic>), Vec<Diagnostic>> {
    let node = super::run::node(Arc::new(MemoryJournal::default()), vec![], Purpose::Look)
        .map_err(|failure| failure.diagnostics)?;
    let home = home();
    let base = Base { directory: directory_of(&loaded.bundle), home: home.as_deref() };
    read_homelab(node.runs.host(), &loaded.bundle, base, &loaded.settings)
}

/// `hob plan`
pub(crate) fn plan(context: &Context, args: &PlanArgs) -> Outcome {
    let loaded = loader::load_homelab(&args.path)?;
    let homelab = declared(context, &loaded)?;
    if let Some(key) = &args.why {
        return why(context, &homelab, key);
    }
    warn(context, &loaded, keeper::misfits(&assemble::ports(), &homelab, true));
    let plan = make_plan(context, &homelab, Goal::Up)?;
    match args.format {
        None => show(context, &plan),
        Some(GraphFormat::Mermaid) => context.print_line(plan.mermaid().trim_end()),
        Some(GraphFormat::Dot) => context.print_line(plan.dot().trim_end()),
    }
    Ok(if plan.is_empty() { Exit::Done } else { Exit::Usage })
}

/// Names the file and line that declares what `SERVICE.FIELD` or `SERVICE` says.
fn why(context: &Context, homelab: &Homelab, key: &str) -> Outcome {
    let (name, field) = key.split_once('.').unwrap_or((key, ""));
    let Some(service) = homelab.service(name) else {
        let near =
            hob_model::names::nearest(name, homelab.services.iter().map(|service| service.name.as_str()));
        let error = Diagnostic::error(Code::UnknownName, format!("there is no service `{name}`"));
        return Err(near.map_or(error.clone(), |near| error.hint(format!("did you mean `{near}`?"))).into());
    };
    let fields = service.fields();
    let of = |fields: &Value| match field {
        "" => Some(fields.clone()),
        _ => field.split('.').try_fold(fields, |value, part| value.get(part)).cloned(),
    };
    // What was written first; what was left out has a value, too.
    let written = of(&service.options).filter(|value| !field.is_empty() && *value != Value::Unit);
    let is_default = written.is_none() && !field.is_empty();
    let Some(value) = written.or_else(|| of(&fields)) else {
        return Err(Diagnostic::error(Code::UnknownName, format!("`{name}` has no field `{field}`")).into());
    };
    let json = value.to_json().unwrap_or_default();
    let host = service.set_by.iter().find(|(key, _)| field == *key || field.starts_with(&format!("{key}.")));
    let source = host.map_or(&service.source, |(_, source)| source);
    if context.global.json {
        context.print_json(&json!({
            "key": key, "value": json, "source": source.to_string(), "default": is_default,
        }));
        return Ok(Exit::Done);
    }
    context.print_line(&format!("{key} = {json}"));
    match is_default {
        true => context.print_line(&format!("  not set; `{name}` is declared at {source}")),
        false => context.print_line(&format!("  set at {source}")),
    }
    let inner =
        service.set_by.iter().filter(|(part, _)| field.is_empty() || part.starts_with(&format!("{field}.")));
    for (part, source) in inner {
        context.print_line(&format!("  `{part}` set at {source}"));
    }
    Ok(Exit::Done)
}

fn make_plan(context: &Context, homelab: &Homelab, goal: Goal) -> Result<Plan, Failure> {
    let observed = match context.read() {
        Ok(journal) => keeper::observe(&*journal, &assemble::ports(), &context.state, homelab)?,
        // A state directory that does not exist yet has nothing in it.
        Err(_) if !context.state.join("journal.db").exists() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    Ok(Plan::new(homelab, &observed, goal))
}

fn show(context: &Context, plan: &Plan) {
    if context.global.json {
        context.print_json(&plan.to_json());
    } else {
        context.print_line(plan.to_string().trim_end());
    }
}

/// `hob apply`
pub(crate) fn apply(context: &Context, args: &ApplyArgs) -> Outcome {
    let loaded = loader::load_homelab(&args.path)?;
    let homelab = declared(context, &loaded)?;
    warn(context, &loaded, keeper::misfits(&assemble::ports(), &homelab, true));
    let plan = make_plan(context, &homelab, Goal::Up)?;
    show(context, &plan);
    if plan.is_empty() {
        return Ok(Exit::Done);
    }
    if !args.yes && !confirmed(context, "apply")? {
        return Ok(Exit::Usage);
    }
    carry_out(
        context,
        (homelab, loaded.bundle),
        |keeper| keeper.apply(Goal::Up),
        || apply_there(context, &plan),
    )
}

/// Has the hob that serves carry out a plan, if it would do the same.
fn apply_there(context: &Context, plan: &Plan) -> Outcome {
    let client = client(context).without_limit();
    let theirs = client.get("/api/v1/plan")?;
    if theirs["changes"] != plan.to_json()["changes"] {
        let message = "the hob that serves this state directory was started with other declarations";
        let error = Diagnostic::error(Code::StateLocked, message);
        return Err(error.hint("restart it, which brings up what is declared now").into());
    }
    client.post("/api/v1/apply", &json!({ "basis": theirs["basis"] }))?;
    context.say("done");
    Ok(Exit::Done)
}

/// `hob down`
pub(crate) fn down(context: &Context, path: &Path) -> Outcome {
    let loaded = loader::load_homelab(path)?;
    let homelab = declared(context, &loaded)?;
    let there = || {
        client(context).without_limit().post("/api/v1/down", &json!({}))?;
        context.say("done; the hob that serves goes on without services");
        Ok(Exit::Done)
    };
    carry_out(context, (homelab, loaded.bundle), |keeper| keeper.apply(Goal::Down), there)
}

/// Brings services to a state in this process, and they go on when it ends; or has the hob do so that serves.
fn carry_out(
    context: &Context,
    (homelab, bundle): (Homelab, Arc<Bundle>),
    work: impl FnOnce(&Keeper) -> Result<(), Diagnostic>,
    there: impl FnOnce() -> Outcome,
) -> Outcome {
    let journal = match context.open() {
        Ok(journal) => journal,
        Err(JournalError::Locked { .. }) => return there(),
        Err(error) => return Err(error.into()),
    };
    let node = super::run::node(journal, vec![], Purpose::Act)?;
    node.recover(false)?;
    let keeper = Keeper::new(node.runs.clone(), homelab, &context.state)?;
    let directory = directory_of(&bundle).to_string_lossy().into_owned();
    let (runs, admission, bell) = (node.runs.clone(), Arc::default(), Arc::default());
    keeper.launch_around_with(Launch { runs, bundle, directory, admission, bell });
    super::boot::shown(context, &keeper, || work(&keeper))?;
    keeper.end(false);
    node.close(std::time::Duration::from_secs(1));
    context.say("done");
    Ok(Exit::Done)
}

/// Whether the person at the terminal says yes to `what`; nobody does where there is none.
pub(super) fn confirmed(context: &Context, what: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        context.say(&format!("nobody to ask: use --yes to {what} without a terminal"));
        return Ok(false);
    }
    context.say(&context.paint(Role::Name, &format!("{what}? [y/N]")));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Where the API listens unless it is told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4620);
/// How long ended runs are kept unless it is told otherwise: 90 days.
const RETAIN: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What the command line says about serving, as far as it does.
struct UpOptions {
    listen: Option<SocketAddr>,
    hosts: Vec<String>,
    retain: Option<Duration>,
}

impl UpOptions {
    fn read(args: &UpArgs) -> Result<Self, Failure> {
        let address = |text: &String| {
            text.parse().map_err(|_| {
                Failure::usage(format!("--listen `{text}` is no address; write for example {LISTEN}"))
            })
        };
        let period = |text: &String| {
            duration::parse(text).map_err(|error| Failure::usage(format!("--retain: {error}")))
        };
        for host in &args.host {
            check_host(host).map_err(|problem| Failure::usage(format!("--host: {problem}")))?;
        }
        Ok(Self {
            listen: args.listen.as_ref().map(address).transpose()?,
            hosts: args.host.clone(),
            retain: args.retain.as_ref().map(period).transpose()?,
        })
    }

    /// What applies: the command line, else `hob.toml`, else the default.
    fn over(self, settings: &Settings) -> (SocketAddr, Vec<String>, Retention) {
        let hosts = if self.hosts.is_empty() { settings.hosts.clone() } else { self.hosts };
        let listen = self.listen.or(settings.listen).unwrap_or(LISTEN);
        let age = self.retain.or(settings.retention.age).or(Some(RETAIN));
        (listen, hosts, Retention { age, ..settings.retention })
    }
}

/// `hob up`
pub(crate) fn up(context: &Context, args: &UpArgs) -> Outcome {
    let options = UpOptions::read(args)?;
    let loaded = loader::load_homelab(&args.path)?;
    let homelab = declared(context, &loaded)?;
    let (listen, mut hosts, retention) = options.over(&loaded.settings);
    let url = loaded.settings.url.clone();
    hosts.extend(url.as_ref().and_then(|url| url.host_str()).map(str::to_owned));
    let store = context.open()?;
    let journal: Arc<dyn Journal> = Arc::clone(&store) as Arc<dyn Journal>;
    let traces = hob_traces::is_wanted().then(|| Traces::start(Arc::clone(&journal))).transpose()?;
    let traces = traces.map(Arc::new);
    let (ears, waiters, async_core) =
        (Arc::new(CoreEars::default()), Arc::new(Waiters::default()), AsyncCore::default());
    let node = Node::new(NodeParts {
        journal,
        registry: assemble::registry(),
        ports: assemble::ports(),
        core: async_core.clone(),
        listeners: listeners(&ears, &waiters, traces.as_ref()),
        purpose: Purpose::Act,
    })
    .map_err(|error| Diagnostic::error(Code::StateUnusable, format!("no thread can be started: {error}")))?;
    let directory = directory_of(&loaded.bundle).to_path_buf();
    let core = Core::new(CoreParts {
        node,
        ears,
        bundle: loaded.bundle,
        homelab,
        directory,
        state: context.state.clone(),
        login: login_file(&context.state),
        living: assemble::living,
        runs_max: loaded.settings.runs_max,
        maintain: Box::new(move || prune(&store, &retention)),
    })?;
    let served =
        Served::begin(context, &async_core, Arc::clone(&core) as Arc<dyn Hub>, waiters, (listen, hosts))?;
    if let Some(address) = served.address() {
        context.say(&format!("listening on http://{address}, state in {}", context.state.display()));
        core.serve_links_at(&url.map_or_else(|| format!("http://{address}"), String::from));
    }
    // Whoever tells it to end while it boots must not leave half of the services behind.
    let booted = CancellationToken::new();
    let told_to_end = told_to_end(&async_core, core.keeper(), booted.clone());
    super::boot::shown(context, core.keeper(), || core.begin())?;
    booted.cancel();
    if !told_to_end.is_cancelled() {
        context.say("ready; Ctrl-C stops");
    }
    // Without a service manager there is nobody to tell, which is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let beating = Arc::clone(&core);
    crate::manager::feed_watchdog(move || beating.beats());
    crate::manager::start_targets(super::targets::ready(&core.keeper().status()));
    async_core.runtime().block_on(told_to_end.cancelled());
    let stop = args.on_exit == OnExit::Stop || crate::manager::is_shutting_down();
    context.say(if stop { "stopping services in reverse order" } else { "leaving; services go on" });
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    served.end();
    core.end(stop);
    traces.iter().for_each(|traces| traces.flush());
    Ok(Exit::Done)
}

/// Who hears what happens to the runs of a hob that serves.
fn listeners(
    ears: &Arc<CoreEars>,
    waiters: &Arc<Waiters>,
    traces: Option<&Arc<Traces>>,
) -> Vec<Arc<dyn Listener>> {
    let mut all: Vec<Arc<dyn Listener>> =
        vec![Arc::clone(ears) as Arc<dyn Listener>, Arc::clone(waiters) as Arc<dyn Listener>];
    all.push(Arc::new(RunMeter));
    all.extend(traces.map(|traces| Arc::clone(traces) as Arc<dyn Listener>));
    all
}

/// The file with what is shown at login: one that pam_motd shows where hob serves the machine, else one in the state directory.
fn login_file(state: &Path) -> PathBuf {
    if state == Path::new("/var/lib/hob") { "/run/motd.d/hob".into() } else { state.join("motd") }
}

/// Removes ended runs and events that are not to be kept.
fn prune(store: &SqliteJournal, retention: &Retention) {
    let now = hob_primitive::Clock::now(&hob_daemon::clock::SystemClock);
    let before = retention.age.and_then(|age| now.checked_sub(age).ok());
    let policy = PrunePolicy {
        ended_before: before,
        runs_max: retention.runs,
        bytes_max: retention.bytes,
        events_before: before,
        events_max: retention.events,
    };
    match store.prune(&policy) {
        Ok(pruned) if pruned.runs + pruned.events > 0 => tracing::info!(?pruned, "the journal was pruned"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the journal cannot be pruned"),
    }
}

/// Cancelled by Ctrl-C and SIGTERM, which break off a boot that goes on.
fn told_to_end(core: &AsyncCore, keeper: &Keeper, booted: CancellationToken) -> CancellationToken {
    let (told, keeper) = (CancellationToken::new(), keeper.clone());
    let tell = told.clone();
    // From here on the signals do not end the process by themselves.
    let signals = core.runtime().block_on(async {
        Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    });
    match signals {
        Ok((mut interrupts, mut terminations)) => drop(core.runtime().spawn(async move {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            tell.cancel();
            if !booted.is_cancelled() {
                keeper.break_off();
            }
        })),
        Err(error) => tracing::warn!(%error, "Ctrl-C and SIGTERM end hob without stopping services"),
    }
    told
}
