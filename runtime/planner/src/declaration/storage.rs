//! File systems and directories that services stand on.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hob_model::{Code, Diagnostic, Value};

use super::options::{Options, text};
use super::{Dataset, Homelab, Kind, Mount, Raw, Service, ServiceBackup, backup, bad};

/// How long services wait for a file system that is not there yet, unless it says otherwise.
pub const MOUNT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a file system may take to answer, unless it says otherwise: a disk that sleeps needs about as long to wake up.
pub const MOUNT_PATIENCE: Duration = Duration::from_secs(10);

/// Where file systems are usually mounted that a machine starts without.
const USUAL_PLACES: [&str; 2] = ["/mnt", "/media"];

/// Reads `mount(name, #{ path, source, type, timeout, patience })`.
pub(super) fn mount(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Option<Mount> {
    let mut options = Options::open(raw, &["path", "source", "type", "timeout", "patience"], diagnostics);
    let expected = "an absolute path without `..`, and not `/`";
    let path = options.read("path", expected, |value| absolute(Path::new(&text(value)?)));
    let mount = Mount {
        name: raw.name.to_string(),
        path: path.clone().unwrap_or_default(),
        device: options.text("source"),
        fs_type: options.text("type"),
        timeout: options.duration("timeout").unwrap_or(MOUNT_TIMEOUT),
        patience: options.duration("patience").unwrap_or(MOUNT_PATIENCE),
        source: raw.source.clone(),
    };
    if path.is_none() && !given(raw, "path") {
        options.report_with(Code::BadDeclaration, "it has no `path`", "say where it is mounted");
    }
    path.map(|_| mount)
}

/// Reads `dataset(name, #{ path, backup })`.
pub(super) fn dataset(raw: &Raw, directory: &Path, diagnostics: &mut Vec<Diagnostic>) -> Option<Dataset> {
    let mut raw = backup::without_functions(raw);
    let is_function = backup::take_functions(&mut raw);
    let raw = &raw;
    let mut options = Options::open(raw, &["path", "backup"], diagnostics);
    let path = options.read("path", "a path without `..`", |value| absolute(&directory.join(text(value)?)));
    if path.is_none() && !given(raw, "path") {
        options.report_with(Code::BadDeclaration, "it has no `path`", "say which directory holds it");
    }
    let nested = options.as_raw("backup");
    let declared = options.take("backup");
    let read = |declared| backup::read(Raw { options: declared, ..nested }, false, is_function, diagnostics);
    let backup = declared.and_then(read);
    path.map(|path| Dataset { name: raw.name.to_string(), path, backup, source: raw.source.clone() })
}

/// Reads what the engine makes of `service(name, #{ backup })`; nothing for the declaration of a dataset.
pub(super) fn of_service(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Option<ServiceBackup> {
    let service = raw.options.get("service").and_then(Value::as_str)?.to_owned();
    let mut raw = backup::without_functions(&Raw { kind: "service".to_owned(), ..raw.clone() });
    let is_function = backup::take_functions(&mut raw);
    let mut options = Options::open(&raw, &["service", "backup"], diagnostics);
    let nested = options.as_raw("backup");
    let declared = options.take("backup")?;
    let backup = backup::read(Raw { options: declared, ..nested }, true, is_function, diagnostics)?;
    Some(ServiceBackup { service, backup, source: raw.source.clone() })
}

fn given(raw: &Raw, key: &str) -> bool {
    raw.options.get(key).is_some_and(|value| *value != Value::Unit)
}

/// The path in its plain form; nothing when it is relative, climbs, or is the root.
fn absolute(path: &Path) -> Option<PathBuf> {
    let plain = |part: &Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let fits = path.is_absolute() && path.components().all(|part| plain(&part) || part == Component::CurDir);
    (fits && path.parent().is_some()).then(|| path.components().filter(plain).collect())
}

/// Finds what each service stands on: the mounts and datasets among what it needs, and those that hold its files.
pub(super) fn assign(homelab: &mut Homelab, kinds: &[&dyn Kind], diagnostics: &mut Vec<Diagnostic>) {
    let (mounts, datasets) = (&homelab.mounts, &homelab.datasets);
    for service in &mut homelab.services {
        let (own, others): (Vec<String>, Vec<String>) =
            std::mem::take(&mut service.needs).into_iter().partition(|need| {
                mounts.iter().any(|it| it.name == *need) || datasets.iter().any(|it| it.name == *need)
            });
        service.needs = others;
        let paths = paths_of(service, kinds);
        let below = |place: &Path| paths.iter().any(|path| path.starts_with(place));
        let used = datasets.iter().filter(|it| own.contains(&it.name) || below(&it.path));
        service.datasets = used.map(|it| it.name.clone()).collect();
        let holds_dataset = |mount: &Mount| {
            datasets.iter().any(|it| service.datasets.contains(&it.name) && it.path.starts_with(&mount.path))
        };
        let used = mounts.iter().filter(|it| own.contains(&it.name) || below(&it.path) || holds_dataset(it));
        service.mounts = used.map(|it| it.name.clone()).collect();
        warn_of_undeclared(service, &paths, mounts, diagnostics);
    }
}

/// The directories and files of this machine that a service works with.
fn paths_of(service: &Service, kinds: &[&dyn Kind]) -> Vec<PathBuf> {
    match &service.body {
        super::Body::Process(process) => vec![process.workdir.clone()],
        super::Body::Kept(kept) => {
            let kind = kinds.iter().find(|kind| kind.name() == kept.kind);
            kind.map(|kind| kind.paths(&kept.fields)).unwrap_or_default()
        }
    }
}

/// Whoever declares mounts wants to be kept from writing beside them: one that is missing among them is likely forgotten.
fn warn_of_undeclared(
    service: &Service,
    paths: &[PathBuf],
    mounts: &[Mount],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let guarded = |path: &Path| mounts.iter().any(|mount| path.starts_with(&mount.path));
    let usual = |path: &&PathBuf| USUAL_PLACES.iter().any(|place| path.starts_with(place));
    let Some(path) = paths.iter().filter(usual).find(|path| !guarded(path)).filter(|_| !mounts.is_empty())
    else {
        return;
    };
    let message = format!(
        "service `{}` uses {}, where no mount is declared: it starts also when nothing is mounted there",
        service.name,
        path.display()
    );
    let warning = bad(&service.source, message).hint("declare it: mount(\"…\", #{ path: \"…\" })");
    diagnostics.push(Diagnostic { level: hob_model::Level::Warning, ..warning });
}

/// Two file systems cannot be at one place.
pub(super) fn places(mounts: &[Mount], diagnostics: &mut Vec<Diagnostic>) {
    for (at, mount) in mounts.iter().enumerate() {
        if let Some(other) = mounts[..at].iter().find(|other| other.path == mount.path) {
            let message =
                format!("mounts `{}` and `{}` are both at {}", other.name, mount.name, mount.path.display());
            diagnostics.push(bad(&mount.source, message).span(hob_model::Span {
                label: format!("`{}` is there first", other.name),
                ..hob_model::Span::point(other.source.clone())
            }));
        }
    }
}
