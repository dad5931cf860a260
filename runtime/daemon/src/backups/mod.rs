//! Backups of datasets and services: what is known of them, and what people do with them.
//!
//! What is done is a run, of a schedule or of a function that the engine gave them. What came of it is kept as a fact
//! for each repository, so that it is known after the run was pruned.

mod known;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_engine::Bundle;
use hob_journal::{Commit, Journal, JournalError, RunFilter, RunRow, Write};
use hob_model::{Code, Diagnostic, RunEnd, RunId, RunOwner, RunStatus, Timestamp, Value, names};
use hob_planner::Homelab;
use hob_planner::declaration::{BACKUP_ACTS, RunPolicy, Service};
use hob_primitive::Family;
use hob_runs::{NewRun, RunError, Runs};
use hob_scheduler::Schedule;
use serde_json::{Value as Json, json};

use self::known::{Known, key_of};
use crate::keeper::Keeper;
use crate::schedules::{Launch, started};

/// What the kinds of runs that people start begin with.
const ACT_KIND: &str = "dataset.act.";
/// What is done by itself: the ends of the names of the schedules.
const BY_ITSELF: [&str; 3] = ["backup", "upkeep", "verify"];
/// How many runs of a name are looked at for what a crash kept from being noted.
const RECALLED: usize = 20;

/// The datasets that are backed up.
#[derive(Clone, Default)]
pub struct Backups(Vec<BackedUp>);

/// A dataset that is; or a service, which has no directory of its own.
#[derive(Clone)]
struct BackedUp {
    dataset: String,
    path: Option<PathBuf>,
    repositories: Vec<String>,
    policy: RunPolicy,
    quiesces: bool,
    /// When it is backed up by itself.
    schedule: Option<Schedule>,
}

impl Backups {
    /// Those of a homelab that still has its schedules.
    #[must_use]
    pub fn of(homelab: &Homelab) -> Self {
        let schedule = |name: String| homelab.schedules.iter().find(|it| *it.schedule.name == name);
        let all = homelab.backed_up().map(|(name, path, backup)| BackedUp {
            dataset: name.to_owned(),
            path: path.map(Path::to_owned),
            repositories: backup.repositories.clone(),
            policy: backup.policy.clone(),
            quiesces: backup.quiesces,
            schedule: schedule(format!("{name}.backup")).map(|it| it.schedule.clone()),
        });
        Self(all.collect())
    }

    fn find(&self, dataset: &str) -> Result<&BackedUp, Diagnostic> {
        self.0.iter().find(|it| it.dataset == dataset).ok_or_else(|| {
            let problem =
                Diagnostic::error(Code::UnknownName, format!("there is no dataset or service `{dataset}` with backups"));
            match names::nearest(dataset, self.0.iter().map(|it| it.dataset.as_str())) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(
                    "declare them: dataset(\"NAME\", #{ path: \"…\", backup: #{ to: \"…\", password: secret(\"…\") } })",
                ),
            }
        })
    }

    /// Who goes on with a run of a person that nobody serves: where something holds still meanwhile, it must not wait for one.
    #[must_use]
    pub fn owner(&self, dataset: &str) -> RunOwner {
        let quiesces = self.0.iter().any(|it| it.dataset == dataset && it.quiesces);
        if quiesces { RunOwner::Daemon } else { RunOwner::Foreground }
    }

    /// A run of what a person does with the backups of a dataset.
    ///
    /// # Errors
    /// When there is no such dataset or act, or it is being backed up already.
    pub fn run(
        &self,
        runs: &Runs,
        bundle: &Arc<Bundle>,
        directory: &Path,
        (dataset, act): (&str, &str),
        input: Value,
    ) -> Result<NewRun, Diagnostic> {
        let found = self.find(dataset)?;
        if !BACKUP_ACTS.contains(&act) {
            let message = format!("nothing called `{act}` is done with backups");
            return Err(Diagnostic::error(Code::UnknownName, message)
                .hint(format!("there are {}", BACKUP_ACTS.join(", "))));
        }
        if act == "run"
            && let Some(live) = live(runs, dataset).map_err(|error| error.diagnostic())?
        {
            let message = format!("`{dataset}` is being backed up already, by run {live}");
            return Err(Diagnostic::error(Code::WrongRunState, message).hint(format!(
                "wait for its end: `hob runs show {live}`; or cancel it with `hob runs cancel`"
            )));
        }
        let cwd = directory.to_string_lossy().into_owned();
        let kind = format!("{ACT_KIND}{act}");
        let started = started(&kind, dataset, &found.policy, input, cwd, "person".to_owned());
        Ok(NewRun { id: runs.new_id(), started, bundle: Arc::clone(bundle) })
    }

    /// Starts such a run on a hob that serves; returns once that is durable.
    ///
    /// # Errors
    /// As [`Backups::run`], when services use what is to be replaced, and when the journal cannot take it.
    pub(crate) fn start(
        &self,
        launch: &Launch,
        homelab: &Homelab,
        keeper: &Keeper,
        (dataset, act): (&str, &str),
        input: Value,
    ) -> Result<RunId, Diagnostic> {
        let in_place = input.get("to").is_none() && input.get("plan") != Some(&Value::Bool(true));
        if act == "restore" && in_place {
            look_who_uses(homelab, keeper, dataset)?;
        }
        let directory = Path::new(&launch.directory);
        let new = self.run(&launch.runs, &launch.bundle, directory, (dataset, act), input)?;
        let run = new.id;
        launch.runs.start(new).map_err(|error| error.diagnostic())?;
        launch.runs.journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))?;
        Ok(run)
    }

    /// As [`Backups::note`]: what fails now is noted once hob begins again.
    pub(crate) fn run_ended(&self, runs: &Runs, run: RunId, end: Option<&RunEnd>) {
        if let Some(Err(error)) = end.map(|end| self.note(runs, run, end)) {
            tracing::warn!(%error, "what a run did for backups cannot be noted now");
        }
    }

    /// Notes what a run that ended did for backups, if it was for them.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn note(&self, runs: &Runs, run: RunId, end: &RunEnd) -> Result<(), RunError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.fold(runs, &runs.row(run)?, end)
    }

    /// Notes what a crash kept from being noted.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recall(&self, runs: &Runs) -> Result<(), RunError> {
        for it in &self.0 {
            let by_itself =
                BY_ITSELF.iter().map(|end| ("schedule".to_owned(), format!("{}.{end}", it.dataset)));
            let by_people = BACKUP_ACTS.iter().map(|act| (format!("{ACT_KIND}{act}"), it.dataset.clone()));
            for (kind, name) in by_itself.chain(by_people) {
                let status = vec![RunStatus::Succeeded, RunStatus::Failed, RunStatus::Cancelled];
                let (kind, name, limit) = (Some(kind), Some(name), Some(RECALLED));
                let filter = RunFilter { status, kind, name, limit, ..RunFilter::default() };
                for row in runs.journal().runs(&filter)?.iter().rev() {
                    if let Some(end) = &row.end {
                        self.fold(runs, row, end)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fold(&self, runs: &Runs, row: &RunRow, end: &RunEnd) -> Result<(), RunError> {
        let Some((it, act)) = self.meant(row) else { return Ok(()) };
        let journal = runs.journal();
        for repository in &it.repositories {
            let mut known = Known::read(&**journal, &it.dataset, repository)?;
            if known.note(act, repository, (row, end), runs.now()) {
                let key = key_of(&it.dataset, repository);
                journal.submit(Commit::one(Write::Fact { key, value: Some(known.value()) }));
            }
        }
        Ok(())
    }

    /// The dataset that a run was for, and what it did with it.
    fn meant<'a>(&self, row: &'a RunRow) -> Option<(&BackedUp, &'a str)> {
        let (dataset, act) = match row.kind.strip_prefix(ACT_KIND) {
            Some(act) => (row.name.as_str(), act),
            None if row.kind == "schedule" => row.name.rsplit_once('.')?,
            None => return None,
        };
        let act = match act {
            "run" | "backup" => "backup",
            "check" | "upkeep" => "check",
            "verify" => "verify",
            _ => return None,
        };
        self.0.iter().find(|it| it.dataset == dataset).map(|it| (it, act))
    }

    /// What `hob backup status --json` prints.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn list(&self, journal: &dyn Journal, now: Timestamp) -> Result<Json, Diagnostic> {
        let view = |it: &BackedUp| {
            let next = it.schedule.as_ref().and_then(|schedule| schedule.next(now));
            let repositories = it.repositories.iter().map(|repository| {
                let known = Known::read(journal, &it.dataset, repository)?;
                Ok(known.view(repository, it.schedule.as_ref(), now))
            });
            let repositories = repositories.collect::<Result<Vec<_>, JournalError>>()?;
            Ok(json!({
                "dataset": it.dataset,
                "path": it.path.as_ref().map(|path| path.to_string_lossy()),
                "next": next.map(|at| at.to_string()),
                "repositories": repositories,
            }))
        };
        let all = self.0.iter().map(view).collect::<Result<Json, JournalError>>();
        all.map_err(|error| hob_runs::journal_diagnostic(&error))
    }

    /// What there is to measure of them; nothing while the journal cannot be read.
    pub(crate) fn families(&self, runs: &Runs) -> Vec<Family> {
        self.measured(&**runs.journal(), runs.now()).unwrap_or_default()
    }

    fn measured(&self, journal: &dyn Journal, now: Timestamp) -> Result<Vec<Family>, JournalError> {
        let mut all = Vec::new();
        for it in &self.0 {
            for repository in &it.repositories {
                let labels = [("dataset", it.dataset.clone()), ("repository", repository.clone())];
                all.push((labels, Known::read(journal, &it.dataset, repository)?, it.schedule.as_ref()));
            }
        }
        let time = |act: &'static str| {
            let found =
                all.iter().filter_map(move |(labels, known, _)| Some((labels.clone(), known.seconds(act)?)));
            found.collect::<Vec<_>>()
        };
        let sizes = all.iter().filter_map(|(labels, known, _)| Some((labels.clone(), known.bytes()?)));
        let late = all.iter().map(|(labels, known, schedule)| {
            (labels.clone(), f64::from(known.state(*schedule, now) != "good"))
        });
        let gauge = Family::gauge;
        Ok(vec![
            gauge(
                "hob_backup_last_success_timestamp_seconds",
                "When a dataset was last backed up whole, in Unix time",
            )
            .with(time("backup")),
            gauge(
                "hob_backup_last_check_timestamp_seconds",
                "When its repository was last found whole, in Unix time",
            )
            .with(time("check")),
            gauge(
                "hob_backup_last_verify_timestamp_seconds",
                "When it was last restored as a drill, in Unix time",
            )
            .with(time("verify")),
            gauge("hob_backup_bytes", "The size of what the last backup holds").with(sizes),
            gauge(
                "hob_backup_wanting",
                "Whether a dataset has no backup, its last one failed, or two slots passed without one",
            )
            .with(late),
        ])
    }
}

/// Refuses to change files under services that run.
fn look_who_uses(homelab: &Homelab, keeper: &Keeper, dataset: &str) -> Result<(), Diagnostic> {
    let uses = |it: &&Service| it.datasets.iter().any(|used| used == dataset);
    let runs = |it: &&Service| {
        let state = keeper.health(&it.name).map(|(state, _)| state);
        state.is_some_and(|state| matches!(state, "ready" | "starting" | "degraded"))
    };
    let using = homelab.services.iter().filter(uses).filter(runs).map(|it| it.name.as_str());
    let using: Vec<&str> = using.collect();
    let Some(first) = using.first() else { return Ok(()) };
    let message = format!("dataset `{dataset}` is used by what runs: {}", using.join(", "));
    let hint = format!("`hob stop {first}` first, and start it afterwards; or restore elsewhere, with --to");
    Err(Diagnostic::error(Code::WrongRunState, message).hint(hint))
}

/// A run that backs up the dataset and has not ended.
fn live(runs: &Runs, dataset: &str) -> Result<Option<RunId>, RunError> {
    for (kind, name) in
        [("schedule".to_owned(), format!("{dataset}.backup")), (format!("{ACT_KIND}run"), dataset.to_owned())]
    {
        let (kind, name) = (Some(kind), Some(name));
        let filter =
            RunFilter { status: RunStatus::live(), kind, name, limit: Some(1), ..RunFilter::default() };
        if let Some(row) = runs.journal().runs(&filter)?.first() {
            return Ok(Some(row.run));
        }
    }
    Ok(None)
}
