//! From a bundle to a homelab: the engine's declarations, read by the planner.

use std::borrow::Cow;
use std::sync::Arc;

use hob_engine::{Base, Bundle, Declared, Host, Permissions};
use hob_model::{Code, Diagnostic, Level, OpError, Source};
use hob_planner::declaration::{Declaration, RunPolicy, ScheduleDeclaration};
use hob_planner::{Homelab, Raw, Surroundings};
use hob_primitive::Registry;
use hob_supervisor::ServiceKind;
use jiff::tz::TimeZone;

use crate::notices::channels::of_homelab;
use crate::settings::Settings;
use crate::sources::subscribed;

/// What a homelab's bundle declares, checked as a whole. Permissions get absolute paths: relative ones start at
/// `base.directory`, which is the homelab's; `settings` narrow them.
///
/// # Errors
/// All mistakes at once.
pub fn read_homelab(
    host: &Host,
    bundle: &Arc<Bundle>,
    base: Base<'_>,
    settings: &Settings,
) -> Result<(Homelab, Vec<Diagnostic>), Vec<Diagnostic>> {
    let declared = hob_engine::declarations(host, bundle).map_err(|diagnostic| vec![diagnostic])?;
    let declared: Vec<Opens<'_>> = declared.iter().map(Opens).collect();
    let kinds = host.ports.all::<dyn ServiceKind>();
    let machine = rustix::system::uname();
    let surroundings = Surroundings {
        zones: jiff::tz::db(),
        zone: TimeZone::system(),
        directory: base.directory,
        kinds: &kinds.iter().map(|it| it.kind()).collect::<Vec<_>>(),
        host: machine.nodename().to_str().ok(),
    };
    let (mut homelab, mut diagnostics) = Homelab::read(&declared, &surroundings);
    if let Some(vault) = host.ports.get::<dyn hob_primitive::Vault>().filter(|_| !homelab.secrets.is_empty())
    {
        vault.declare(&homelab.directory, &homelab.secrets);
    }
    diagnostics.extend(hold_schedules(&mut homelab.schedules, base, host, settings));
    let workflows = homelab.workflows.iter_mut().map(|it| (&mut it.policy, &it.source));
    let updates = homelab.services.iter_mut();
    let updates = updates.filter_map(|it| it.update.as_mut().map(|update| (&mut update.policy, &it.source)));
    let setups = homelab.setups.iter_mut().map(|it| (&mut it.policy, &it.source));
    let datasets = homelab.datasets.iter_mut();
    let backups = datasets.filter_map(|it| it.backup.as_mut().map(|backup| (&mut backup.policy, &it.source)));
    let services = homelab.service_backups.iter_mut().map(|it| (&mut it.backup.policy, &it.source));
    for (policy, source) in workflows.chain(updates).chain(setups).chain(backups).chain(services) {
        diagnostics.extend(hold(policy, source, base, host, settings));
    }
    if let Some(form) = host.ports.get::<dyn hob_primitive::ChannelForm>() {
        for channel in &homelab.channels {
            if let Err(error) = form.check(&of_homelab(&homelab, channel)) {
                let message = format!("channel `{}`: {}", channel.name, error.message);
                let problem = Diagnostic::error(Code::BadDeclaration, message).at(channel.source.clone());
                diagnostics.push(Diagnostic { hint: error.hint, ..problem });
            }
        }
    }
    for refused in subscribed(&host.ports, &homelab, bundle).into_iter().filter_map(Result::err) {
        diagnostics.push(bad_trigger(&homelab, &refused));
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error) {
        Err(diagnostics)
    } else {
        Ok((homelab, diagnostics))
    }
}

/// Has a policy hold where it is declared; what is wrong with its permissions.
fn hold(
    policy: &mut RunPolicy,
    source: &Source,
    base: Base<'_>,
    host: &Host,
    settings: &Settings,
) -> Vec<Diagnostic> {
    let found = absolute(policy, base, &host.registry);
    narrow(policy, settings, &source.file);
    found.into_iter().map(|problem| problem.at(source.clone())).collect()
}

/// As [`hold`], for schedules: those that have a policy in common have one in common afterwards, too.
fn hold_schedules(
    schedules: &mut [ScheduleDeclaration],
    base: Base<'_>,
    host: &Host,
    settings: &Settings,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut last: Option<(Arc<RunPolicy>, Arc<str>, Arc<RunPolicy>)> = None;
    for it in schedules {
        match &last {
            Some((declared, file, held)) if Arc::ptr_eq(declared, &it.policy) && *file == it.source.file => {
                it.policy = Arc::clone(held);
            }
            _ => {
                let declared = Arc::clone(&it.policy);
                let found = hold(Arc::make_mut(&mut it.policy), &it.source, base, host, settings);
                // What is wrong is told of each.
                let is_right = found.is_empty();
                last = is_right.then(|| (declared, Arc::clone(&it.source.file), Arc::clone(&it.policy)));
                problems.extend(found);
            }
        }
    }
    problems
}

/// What is wrong with a trigger of the workflow.
fn bad_trigger(homelab: &Homelab, (workflow, error): &(String, OpError)) -> Diagnostic {
    let source = homelab.workflows.iter().find(|it| it.name == *workflow).map(|it| it.source.clone());
    let message = format!("workflow `{workflow}`: `on`: {}", error.message);
    let problem = Diagnostic::error(Code::BadDeclaration, message).at(source.unwrap_or_default());
    Diagnostic { hint: error.hint.clone(), ..problem }
}

/// Takes away what `hob.toml` does not leave to the file that declares it.
fn narrow(policy: &mut RunPolicy, settings: &Settings, file: &str) {
    let mut permissions = Permissions {
        allow: policy.allow.clone().unwrap_or_default(),
        deny: std::mem::take(&mut policy.deny),
        trusted: policy.allow.is_none(),
    };
    settings.narrow(file, &mut permissions);
    policy.allow = (!permissions.trusted).then_some(permissions.allow);
    policy.deny = permissions.deny;
}

/// Gives the permissions absolute paths; the problems of those that no operation needs.
fn absolute(policy: &mut RunPolicy, base: Base<'_>, registry: &Registry) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let lists = [("allow", policy.allow.as_mut()), ("deny", Some(&mut policy.deny))];
    for (key, list) in lists {
        for grant in list.into_iter().flatten() {
            match base.absolute(grant, registry) {
                Ok(absolute) => *grant = absolute,
                Err(error) => {
                    let problem =
                        Diagnostic::error(Code::BadDeclaration, format!("`{key}`: {}", error.message));
                    problems.push(Diagnostic { hint: error.hint, ..problem });
                }
            }
        }
    }
    problems
}

/// A declaration of the engine, as the planner reads it.
struct Opens<'d>(&'d Declared);

impl Declaration for Opens<'_> {
    fn kind(&self) -> &str {
        self.0.kind
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn source(&self) -> &Source {
        &self.0.source
    }

    fn open(&self) -> Cow<'_, Raw> {
        Cow::Owned(Raw {
            kind: self.0.kind.to_owned(),
            name: Arc::clone(&self.0.name),
            options: self.0.options(),
            closures: self.0.closures.iter().map(|(path, _)| path.to_string()).collect(),
            source: self.0.source.clone(),
        })
    }
}
