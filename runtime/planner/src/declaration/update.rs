//! When a service is updated, and how.

use std::time::Duration;

use hob_model::{Code, Diagnostic, Value, duration};
use hob_scheduler::{Schedule, When};
use jiff::tz::TimeZone;

use super::options::Options;
use super::trigger::when_text;
use super::{Body, Gpu, Homelab, Kind, Raw, RunPolicy, Service, Surroundings, bad, hooks};

/// How long a new image has to run well after it got ready, unless the service says otherwise.
pub const UPDATE_SETTLE: Duration = Duration::from_secs(30);

/// How long after its time an update may still begin, unless the service says otherwise.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// The cure where a service cannot be updated in a rolling way.
const ONE_AFTER_THE_OTHER: &str =
    "remove it: the old one stops, the new one starts, and is rolled back if it does not do well";

/// What hooks are called: they are functions among the options of `update`.
const HOOKS: [&str; 2] = ["before", "after"];

/// When a service is updated by itself, and what is done around an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// When its registry is asked; only a person does where this is absent. Its window is how late an update may begin.
    pub schedule: Option<Schedule>,
    /// How long the new image has to run well after it got ready.
    pub settle: Duration,
    /// Whether a function runs before the service stops; the service is left alone when it fails.
    pub before: bool,
    /// Whether a function runs when the new image has settled.
    pub after: bool,
    /// Whether the new one gets ready and settles beside the old one, which stops only then.
    pub rolling: bool,
    /// What these functions may do.
    pub policy: RunPolicy,
}

impl Update {
    /// What plans compare and show.
    pub(super) fn value(&self) -> Value {
        let when = self.schedule.as_ref().map(|schedule| schedule.when.to_string());
        let window = self.schedule.as_ref().and_then(|schedule| schedule.window).map(duration::format);
        let all = [
            ("when", Value::from(when)),
            ("window", Value::from(window)),
            ("settle", Value::from(duration::format(self.settle))),
        ];
        // What was recorded by a hob that did not know it reads as before.
        Value::map(all.into_iter().chain(self.rolling.then_some(("rolling", Value::Bool(true)))))
    }
}

/// The hooks among the functions of `raw`, which are taken out of it.
pub(super) fn take_hooks(raw: &mut Raw) -> [bool; 2] {
    hooks::take_functions(raw, "update", HOOKS)
}

/// The name of what is to take the place of the service `name` in a rolling update, until it does.
#[must_use]
pub fn successor(name: &str) -> String {
    format!("{name}.next")
}

/// Whether an update of a service may be as it is declared; reports why no second one can run beside it.
pub(super) fn may_roll(
    options: &mut Options<'_>,
    update: &Update,
    kind: Option<&dyn Kind>,
    body: Option<&Body>,
    (via, gpu): (Option<&str>, Option<&Gpu>),
) -> bool {
    let (true, Some(kind), Some(Body::Kept(kept))) = (update.rolling, kind, body) else { return true };
    let reason = match via {
        Some(lender) => Some(format!("it has the network of `{lender}`")),
        None if gpu.is_some() => Some("its part of a graphics card is kept for one of it".to_owned()),
        None => kind.alone(&kept.fields),
    };
    if let Some(reason) = &reason {
        let message =
            format!("`update`: `rolling` cannot be, since {reason}: no second one can run beside it");
        options.report_with(Code::BadDeclaration, message, ONE_AFTER_THE_OTHER);
    }
    reason.is_none()
}

/// What only shows with all services: a name that is taken, and others that have the network of the old one.
pub(super) fn successors(homelab: &Homelab, diagnostics: &mut Vec<Diagnostic>) {
    let rolling = |it: &&Service| it.update.as_ref().is_some_and(|update| update.rolling);
    for service in homelab.services.iter().filter(rolling) {
        let next = successor(&service.name);
        if let Some(other) = homelab.service(&next) {
            let message =
                format!("`{next}` is what the next `{}` is called while it gets ready", service.name);
            diagnostics.push(bad(&other.source, message).hint("give it another name"));
        }
        let borrower = homelab.services.iter().find(|it| it.via.as_deref() == Some(&service.name));
        if let Some(borrower) = borrower {
            let message = format!(
                "service `{}`: `update`: `rolling` cannot be, since `{}` has its network",
                service.name, borrower.name
            );
            diagnostics.push(bad(&service.source, message).hint(ONE_AFTER_THE_OTHER));
        }
    }
}

/// `update: WHEN`, or `update: #{ when, window, settle, before, after, rolling }`.
pub(super) fn read_update(
    options: &mut Options<'_>,
    name: &str,
    [before, after]: [bool; 2],
    zone: &TimeZone,
    surroundings: &Surroundings<'_>,
) -> Option<Update> {
    let value = options.take("update")?;
    let mut update = Update {
        schedule: None,
        settle: UPDATE_SETTLE,
        before,
        after,
        rolling: false,
        policy: RunPolicy::default(),
    };
    let map = match &value {
        Value::Map(map) if !map.contains_key("trigger") => map.clone(),
        when => [("when".to_owned(), when.clone())].into(),
    };
    let mut found = Vec::new();
    let inner = Raw { options: Value::Map(map), closures: Vec::new(), ..options.as_raw("update") };
    let known = ["when", "window", "settle", "before", "after", "rolling"];
    let mut inner = Options::open(&inner, &known, &mut found);
    let (when, window) = (inner.take("when"), inner.duration("window"));
    update.settle = inner.duration("settle").unwrap_or(UPDATE_SETTLE);
    hooks::refuse_others(&mut inner, HOOKS, [before, after]);
    update.rolling = inner.bool("rolling").unwrap_or_default();
    match when {
        Some(when) => match When::from_value(&when_text(&when), surroundings.zones) {
            Ok(when) => {
                let mut schedule = Schedule::new(format!("update/{name}"), when, zone.clone());
                schedule.window = Some(window.unwrap_or(WINDOW));
                update.schedule = Some(schedule);
            }
            Err(error) => inner.adopt([error.diagnostic(when_text(&when).as_str().unwrap_or_default())]),
        },
        None if window.is_some() => {
            inner.report_with(
                Code::BadDeclaration,
                "`window` says how late `when` may be, which is not given",
                "give `when: \"0 3 * * *\"`, or remove `window`",
            );
        }
        None => {}
    }
    options.adopt(found);
    Some(update)
}
