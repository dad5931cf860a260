//! `hob check`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use hob_check::report::{findings_json, reach_json, sarif};
use hob_check::{Catalog, Checked, Request};
use hob_daemon::clock::SystemClock;
use hob_daemon::keeper;
use hob_engine::Loader;
use hob_model::{Diagnostic, Level};
use hob_planner::Homelab;
use hob_planner::declaration::Backup;
use hob_primitive::Clock;
use hob_terminal::{Column, Table, human};
use serde_json::{Value as Json, json};

use crate::args::{CheckArgs, CheckFormat};
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome, absolute, cwd};
use crate::loader;

/// Everything that scripts can call.
pub(crate) static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::new(assemble::registry()));

/// What is known of one script or homelab.
struct Report {
    path: String,
    checked: Checked,
    homelab: Option<Homelab>,
}

impl Report {
    fn count(&self, level: Level) -> usize {
        self.checked.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The findings with their files as they are named from here, and not from the script's directory.
    fn findings_from_here(&self) -> impl Iterator<Item = Diagnostic> {
        let path = Path::new(&self.path);
        let directory = if path.is_dir() { Some(path) } else { path.parent() };
        let directory = directory.filter(|it| !it.as_os_str().is_empty() && *it != Path::new("."));
        self.checked.findings.iter().cloned().map(move |mut finding| {
            for span in &mut finding.spans {
                if let Some(directory) = directory {
                    let file = directory.join(&*span.source.file);
                    span.source.file = file.to_string_lossy().into_owned().into();
                }
            }
            finding
        })
    }

    /// The next fire time of each schedule.
    fn schedules(&self) -> Vec<(String, Option<String>)> {
        let now = SystemClock.now();
        let schedules = self.homelab.iter().flat_map(|homelab| &homelab.schedules);
        schedules
            .map(|it| {
                let zone = &it.schedule.local_time.zone;
                let next = it.schedule.next(now);
                let next =
                    next.map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
                (it.schedule.name.to_string(), next)
            })
            .collect()
    }
}

/// What backups reach: hob does them by itself, so that no script shows it.
fn backups(report: &Report) -> impl Iterator<Item = (&str, &Backup)> {
    let all = report.homelab.iter().flat_map(Homelab::backed_up);
    all.map(|(name, _, backup)| (name, backup))
}

/// Checks scripts, and homelabs with what they declare; all problems at once. Nothing acts.
pub(crate) fn check(context: &Context, args: &CheckArgs) -> Outcome {
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let reports = paths.iter().map(|path| report(path)).collect::<Result<Vec<_>, _>>()?;
    let format = if context.global.json { CheckFormat::Json } else { args.format };
    match format {
        CheckFormat::Text => reports.iter().for_each(|report| show(context, report)),
        CheckFormat::Json => context.print_json(&reports.iter().map(report_json).collect()),
        CheckFormat::Sarif => {
            let findings: Vec<Diagnostic> = reports.iter().flat_map(Report::findings_from_here).collect();
            context.print_json(&sarif(&findings, env!("CARGO_PKG_VERSION")));
        }
    }
    let least = if args.strict { Level::Warning } else { Level::Error };
    let fails = reports.iter().any(|it| it.checked.findings.iter().any(|finding| finding.level >= least));
    Ok(if fails { Exit::Failed } else { Exit::Done })
}

fn report(path: &Path) -> Result<Report, Failure> {
    let is_homelab = path.is_dir() || path.file_name().is_some_and(|name| name == loader::HOMELAB_FILE);
    let file = match path.is_dir() {
        true => absolute(path).join(loader::HOMELAB_FILE),
        false => absolute(path),
    };
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Failure::usage(format!("`{}` is no file", path.display())));
    };
    if is_homelab && !file.exists() {
        // It has the words for it.
        loader::load_homelab(path)?;
    }
    let mut checked = match path.to_str() {
        Some("-") => {
            let loaded = loader::load("-")?;
            let text = loaded.bundle.text(&loaded.bundle.record.root).unwrap_or_default();
            analyse(&loaded.bundle.record.root, &Single(text), &cwd())
        }
        _ => analyse(&name.to_string_lossy(), &loader::Directory(directory.to_path_buf()), directory),
    };
    let mut homelab = None;
    if path.to_str() != Some("-") {
        homelab = evaluate(path, is_homelab, &mut checked);
    }
    Ok(Report { path: path.display().to_string(), checked, homelab })
}

/// A text that stands in no file.
struct Single(Arc<str>);

impl Loader for Single {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "stdin.rhai" => Ok(self.0.as_bytes().to_vec()),
            _ => Err("a text that stands in no file imports nothing".to_owned()),
        }
    }
}

fn analyse(root: &str, loader: &dyn Loader, directory: &Path) -> Checked {
    hob_check::check(&CATALOG, &Request { root, loader, cwd: directory, given: &[], functions: &[] })
}

/// Adds what only loading and evaluating find: settings, included data, declarations.
fn evaluate(path: &Path, is_homelab: bool, checked: &mut Checked) -> Option<Homelab> {
    let failed = |checked: &Checked| checked.findings.iter().any(|finding| finding.level == Level::Error);
    if failed(checked) {
        return None;
    }
    let loaded = match is_homelab {
        true => loader::load_homelab(path),
        false => loader::load(&path.to_string_lossy()),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(failure) => {
            checked.files.extend(failure.sources);
            checked.findings.extend(failure.diagnostics);
            return None;
        }
    };
    let files = loaded.bundle.files().filter(|(path, _)| !hob_engine::bundle::is_own_program(path));
    checked.files.extend(files.map(|(path, text)| (path.to_owned(), Arc::clone(text))));
    if !is_homelab {
        return None;
    }
    match super::homelab::look(&loaded) {
        Ok((homelab, told)) => {
            checked.findings.extend(told);
            checked.findings.extend(keeper::misfits(&assemble::ports(), &homelab, false));
            Some(homelab)
        }
        Err(problems) => {
            checked.findings.extend(problems);
            None
        }
    }
}

/// Problems go to standard error, what the script can come to goes to standard output.
fn show(context: &Context, report: &Report) {
    let checked = &report.checked;
    if !checked.findings.is_empty() {
        let sources: BTreeMap<String, Arc<str>> = checked.files.clone();
        context.report(&Failure { diagnostics: checked.findings.clone(), sources, exit: Exit::Failed });
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let counted = |count: usize, one: &str, more: &str| human::counted(count as u64, one, more);
    if errors + warnings == 0 {
        context.say(&format!("{} file(s), no problems", checked.files.len()));
    } else {
        let errors = counted(errors, "error", "errors");
        context.say(&format!("{errors}, {}", counted(warnings, "warning", "warnings")));
    }
    if errors > 0 {
        return;
    }
    let mut effects = Table::new(["OPERATION", "CLASS", "NEEDS", "FIRST AT"].map(Column::new));
    for (name, effect) in &checked.reach.effects {
        let needs: Vec<&str> = effect.needs.iter().map(String::as_str).collect();
        let first = effect.places.first().map(ToString::to_string).unwrap_or_default();
        effects.row([(*name).to_owned(), effect.class.to_string(), needs.join(" "), first]);
    }
    if !effects.is_empty() {
        context.print_line(effects.render(context.out).trim_end());
    }
    if !checked.reach.secrets.is_empty() {
        let names: Vec<&str> = checked.reach.secrets.iter().map(String::as_str).collect();
        context.print_line(&format!("secrets: {}", names.join(", ")));
    }
    let mut table = Table::new(["BACKUP", "TO", "PROGRAMS", "SECRETS"].map(Column::new));
    for (name, backup) in backups(report) {
        let joined = |all: &BTreeSet<String>| Vec::from_iter(all.iter().map(String::as_str)).join(" ");
        let to = backup.repositories.join(" ");
        table.row([name.to_owned(), to, joined(&backup.programs), joined(&backup.secrets)]);
    }
    if !table.is_empty() {
        context.print_line(table.render(context.out).trim_end());
    }
    let mut schedules = Table::new(["SCHEDULE", "NEXT"].map(Column::new));
    for (name, next) in report.schedules() {
        schedules.row([name, next.unwrap_or_else(|| "never".to_owned())]);
    }
    if !schedules.is_empty() {
        context.print_line(schedules.render(context.out).trim_end());
    }
}

fn report_json(report: &Report) -> Json {
    let schedules: Vec<Json> =
        report.schedules().into_iter().map(|(name, next)| json!({ "name": name, "next": next })).collect();
    let backups = backups(report).map(|(name, it)| {
        json!({ "name": name, "to": it.repositories, "programs": it.programs, "secrets": it.secrets })
    });
    json!({
        "path": report.path,
        "files": report.checked.files.keys().collect::<Vec<_>>(),
        "findings": findings_json(&report.checked.findings),
        "reach": reach_json(&report.checked.reach),
        "backups": backups.collect::<Vec<_>>(),
        "schedules": schedules,
    })
}
