//! A homelab from its declarations.

use std::path::Path;

use hob_model::{Code, Diagnostic, Value};
use jiff::tz::TimeZone;

use super::options::Options;
use super::{
    Backup, Declaration, Homelab, NAME_CHARS_MAX, OnFailure, Raw, Service, Surroundings, Tier, TierGate,
    alert, bad, channel, check, host, ports, replicas, service, storage, update, work,
};
use crate::graph::{Graph, Node};

/// The name of a homelab that was given none.
const NAME: &str = "homelab";

impl Homelab {
    /// Reads and checks declarations. All mistakes are reported at once, in the order of the declarations.
    #[must_use]
    pub fn read<D: Declaration>(declared: &[D], surroundings: &Surroundings<'_>) -> (Self, Vec<Diagnostic>) {
        read(declared, surroundings)
    }

    /// The datasets and services that are backed up, by name; datasets with their directories.
    pub fn backed_up(&self) -> impl Iterator<Item = (&str, Option<&Path>, &Backup)> {
        let datasets = self.datasets.iter();
        let datasets = datasets.filter_map(|it| Some((&*it.name, Some(&*it.path), it.backup.as_ref()?)));
        datasets.chain(self.service_backups.iter().map(|it| (&*it.service, None, &it.backup)))
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The services that a name stands for: one, all replicas of one, or none.
    #[must_use]
    pub fn members(&self, name: &str) -> Vec<&Service> {
        let is_member =
            |it: &&Service| it.name == name || it.replica.as_ref().is_some_and(|it| it.of == name);
        self.services.iter().filter(is_member).collect()
    }

    /// Its services, in the order in which they start.
    pub fn services_in_order(&self) -> impl DoubleEndedIterator<Item = &Service> {
        self.graph.order().filter_map(|node| match node {
            Node::Service(name) => self.service(name),
            Node::Tier(_) => None,
        })
    }

    /// The tier of this name.
    #[must_use]
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.name == name)
    }
}

fn read<D: Declaration>(declared: &[D], surroundings: &Surroundings<'_>) -> (Homelab, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut homelab = Homelab {
        name: NAME.to_owned(),
        domain: None,
        timezone: surroundings.zone.clone(),
        directory: surroundings.directory.to_path_buf(),
        secrets: Vec::new(),
        hosts: Vec::new(),
        tiers: Vec::new(),
        services: Vec::new(),
        mounts: Vec::new(),
        datasets: Vec::new(),
        service_backups: Vec::new(),
        channels: Vec::new(),
        alerts: Vec::new(),
        alertmanager: None,
        schedules: Vec::new(),
        workflows: Vec::new(),
        setups: Vec::new(),
        graph: Graph::default(),
    };
    let unique = check::unique(declared, &mut diagnostics);
    // The zone of the homelab holds for all schedules, wherever it is declared.
    for raw in unique.iter().filter(|raw| raw.kind() == "homelab") {
        read_homelab(&raw.open(), &mut homelab, surroundings, &mut diagnostics);
    }
    let mut common = work::Common::default();
    // What a host says of a service holds wherever either is declared.
    for raw in unique.iter().filter(|raw| raw.kind() == "host" && is_name(raw.name())) {
        homelab.hosts.push(host::read(&raw.open(), &mut diagnostics));
    }
    for raw in unique.iter().filter(|raw| raw.kind() != "homelab") {
        read_one(&raw.open(), &mut homelab, surroundings, &mut common, &mut diagnostics);
    }
    replicas::resolve(declared, &mut homelab, &mut diagnostics);
    storage::assign(&mut homelab, surroundings.kinds, &mut diagnostics);
    storage::places(&homelab.mounts, &mut diagnostics);
    check::references(declared, &homelab, &mut diagnostics);
    ports::clashes(&homelab, surroundings.kinds, &mut diagnostics);
    update::successors(&homelab, &mut diagnostics);
    channel::check(declared, &homelab.channels, &mut diagnostics);
    alert::check(declared, &homelab, &mut diagnostics);
    check::error_workflows(&homelab, &mut diagnostics);
    check::webhooks(&homelab.workflows, &mut diagnostics);
    check::hosts(&homelab, &mut diagnostics);
    check::networks(&homelab, &mut diagnostics);
    check::tiers(&homelab, &mut diagnostics);
    let (graph, cycles) = Graph::new(&homelab.tiers, &homelab.services);
    homelab.graph = graph;
    diagnostics.extend(cycles);
    ports::gates(&homelab, surroundings.kinds, &mut diagnostics);
    diagnostics
        .sort_by_key(|it| it.spans.first().map(|s| (s.source.file.clone(), s.source.line, s.source.column)));
    (homelab, diagnostics)
}

fn read_homelab(
    raw: &Raw,
    homelab: &mut Homelab,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut options =
        Options::open(raw, &["name", "domain", "timezone", "secrets", "alertmanager"], diagnostics);
    if let Some(name) = options.text("name").filter(|name| !name.is_empty()) {
        homelab.name = name;
    }
    homelab.domain = options.text("domain");
    let url = |value: &Value| value.as_str().filter(|it| is_http(it)).map(str::to_owned);
    homelab.alertmanager = options.read("alertmanager", "a URL such as \"http://localhost:9093\"", url);
    let sources = options.read("secrets", "a path or an array of paths", |value| match value {
        Value::String(one) => Some(vec![one.clone()]),
        several => super::options::texts(several),
    });
    let absolute = |path: &String| surroundings.directory.join(path);
    homelab.secrets = sources.iter().flatten().map(absolute).collect();
    if let Some(name) = options.text("timezone") {
        match surroundings.zones.get(&name) {
            Ok(zone) => homelab.timezone = zone,
            Err(_) => unknown_zone(&name, &mut options, surroundings),
        }
    }
}

fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()))
}

fn unknown_zone(name: &str, options: &mut Options<'_>, surroundings: &Surroundings<'_>) {
    let names: Vec<String> = surroundings.zones.available().map(|name| name.to_string()).collect();
    let hint = match hob_model::names::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write it as in `Europe/Berlin` or `UTC`".to_owned(),
    };
    options.report_with(Code::BadDeclaration, format!("there is no time zone `{name}`"), hint);
}

fn read_one(
    raw: &Raw,
    homelab: &mut Homelab,
    surroundings: &Surroundings<'_>,
    common: &mut work::Common,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if !is_name(&raw.name) {
        let hint =
            format!("use up to {NAME_CHARS_MAX} letters, digits, `-`, `_` and `.`, a letter or digit first");
        diagnostics
            .push(bad(&raw.source, format!("{} `{}`: this is no name", raw.kind, raw.name)).hint(hint));
        return;
    }
    let zone: TimeZone = homelab.timezone.clone();
    match raw.kind.as_str() {
        "host" => {} // read before
        "tier" => {
            let tier = read_tier(raw, diagnostics);
            homelab.tiers.push(tier);
        }
        "service" => {
            let service = service::read(raw, homelab, surroundings, diagnostics);
            homelab.services.extend(service);
        }
        "mount" => homelab.mounts.extend(storage::mount(raw, diagnostics)),
        "dataset" if raw.options.get("service").is_some() => {
            homelab.service_backups.extend(storage::of_service(raw, diagnostics));
        }
        "dataset" => homelab.datasets.extend(storage::dataset(raw, surroundings.directory, diagnostics)),
        "alert" => homelab.alerts.extend(alert::read(raw, surroundings, diagnostics)),
        "channel" => homelab.channels.extend(channel::read(raw, diagnostics)),
        "schedule" => homelab.schedules.extend(work::schedule(raw, &zone, surroundings, common, diagnostics)),
        "workflow" => homelab.workflows.extend(work::workflow(raw, surroundings, diagnostics)),
        "setup" => homelab.setups.extend(work::setup(raw, diagnostics)),
        "test" => {
            let problem = bad(&raw.source, format!("test `{}` stands in the homelab", raw.name));
            diagnostics.push(problem.hint("put it into a file in `tests/`, which `hob test` plays"));
        }
        other => {
            let message = format!("`{other}` is not supported by this version of hob");
            diagnostics.push(bad(&raw.source, message));
        }
    }
}

fn read_tier(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Tier {
    let mut options = Options::open(raw, &["after", "gate", "on_failure", "parallel"], diagnostics);
    let choices = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue)];
    let count = |value: &Value| value.as_int().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    Tier {
        name: raw.name.to_string(),
        after: options.texts("after").unwrap_or_default(),
        gate: options
            .read("gate", "\"all\", \"critical\" or a number of services", |value| match value.as_str() {
                Some("all") => Some(TierGate::All),
                Some("critical") => Some(TierGate::Critical),
                Some(_) => None,
                None => count(value).map(TierGate::Quorum),
            })
            .unwrap_or_default(),
        on_failure: options.choice("on_failure", &choices).unwrap_or_default(),
        parallel: options.read("parallel", "a number of services", count),
        source: raw.source.clone(),
    }
}

fn is_name(name: &str) -> bool {
    name.chars().count() <= NAME_CHARS_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
