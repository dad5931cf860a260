//! An Alertmanager, told again and again of what fires: it forgets what it does not hear of
//! ([API](https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml)).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_alerts::board::with_labels;
use hob_alerts::{Board, Instance, Labels, Rule, State};
use hob_model::Timestamp;
use hob_primitive::AlertReceiver;
use hob_runs::Runs;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::lock;
use crate::performer::AsyncCore;

/// How often it is told what goes on.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// When what it no longer hears of counts as resolved: three tellings may be lost.
const ENDS_AFTER: Duration = Duration::from_secs(4 * 60);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An Alertmanager.
pub(super) struct Receiver {
    url: String,
    port: Arc<dyn AlertReceiver>,
    core: AsyncCore,
    told: Mutex<Told>,
}

/// What it was last told.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    alerts: Vec<Json>,
}

impl Receiver {
    /// The one at `url`; none in a process that cannot reach any.
    pub(super) fn new(url: &str, runs: &Runs, core: &AsyncCore) -> Option<Self> {
        let port = runs.host().ports.get::<dyn AlertReceiver>()?;
        let (url, core) = (url.to_owned(), core.clone());
        Some(Self { url, port, core, told: Mutex::default() })
    }

    /// Tells what fires, if that changed or was told some time ago. What no longer fires is told to have ended.
    pub(super) fn tell(&self, board: &Board, now: Timestamp) {
        let firing: Vec<Json> = board
            .all()
            .flat_map(|(rule, _, instances)| {
                let fires = instances.iter().filter(|(_, it)| it.state == State::Firing);
                fires.map(|(labels, it)| alert(rule, labels, it)).collect::<Vec<_>>()
            })
            .collect();
        let mut told = lock(&self.told);
        let same = |a: &Json, b: &Json| a["labels"] == b["labels"] && a["startsAt"] == b["startsAt"];
        let ended: Vec<Json> =
            told.alerts.iter().filter(|old| !firing.iter().any(|new| same(old, new))).cloned().collect();
        let changed = !ended.is_empty() || firing.len() != told.alerts.len();
        let is_due = told.at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if !changed && (firing.is_empty() || !is_due) {
            return;
        }
        let until = now.checked_add(ENDS_AFTER).unwrap_or(now);
        let ends = |mut alert: Json, at: Timestamp| {
            alert["endsAt"] = at.to_string().into();
            alert
        };
        let told_now = firing.iter().cloned().map(|it| ends(it, until));
        let all: Vec<Json> = told_now.chain(ended.into_iter().map(|it| ends(it, now))).collect();
        *told = Told { at: Some(Instant::now()), alerts: firing };
        drop(told);
        self.send(&Json::from(all));
    }

    /// Sends it beside everything else: an Alertmanager that is down must not keep people from being told.
    fn send(&self, alerts: &Json) {
        let sending = Arc::clone(&self.port).send(self.url.clone(), alerts.to_string());
        let url = self.url.clone();
        drop(self.core.runtime().spawn(async move {
            match tokio::time::timeout(PATIENCE, sending).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%url, %error, "the Alertmanager was not told"),
                Err(_) => tracing::warn!(%url, "the Alertmanager does not answer"),
            }
        }));
    }
}

/// An alert as the Alertmanager takes it.
fn alert(rule: &Rule, labels: &Labels, instance: &Instance) -> Json {
    let mut all = with_labels(rule, labels);
    all.insert("alertname".to_owned(), rule.name.clone());
    all.insert("severity".to_owned(), rule.severity.as_str().to_owned());
    all.insert("group".to_owned(), rule.group.clone());
    let mut annotations = Labels::from([("summary".to_owned(), instance.summary.clone())]);
    annotations.extend(instance.value.map(|value| ("value".to_owned(), value.to_string())));
    json!({ "labels": all, "annotations": annotations, "startsAt": instance.since.to_string() })
}
