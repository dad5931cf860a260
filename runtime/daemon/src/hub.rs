//! What the outside sees of a hob that serves: the surface between the HTTP API and the core.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_engine::Numbers;
use hob_journal::Ticket;
use hob_model::{Code, Diagnostic, RunId, Value};
use hob_planner::declaration::Rate;
use hob_primitive::{Family, ServiceRequest};
use hob_runs::Runs;

use crate::alerts::SilenceOrder;
use crate::keeper;
use crate::metrics;
use crate::notices::links::Links;
use crate::schedules::ScheduleCommand;

/// How a webhook answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Respond {
    /// 202 with the run's id, once it is durable.
    #[default]
    Accepted,
    /// 200 with the value when the run has ended.
    Last,
}

/// A declared webhook that fits a request.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookMatch {
    /// The workflow to start.
    pub workflow: String,
    /// The parameters in the path: `/media/:kind` gives `kind`.
    pub params: BTreeMap<String, String>,
    /// How to answer.
    pub respond: Respond,
    /// The shared secret that the request must prove to know.
    pub secret: Option<String>,
    /// What tells it from others: its method and path, as declared.
    pub id: String,
    /// How many requests it takes.
    pub rate: Option<Rate>,
    /// The largest body, in bytes, if it is less than for all.
    pub body_bytes_max: Option<u64>,
}

/// A workflow that is to be started.
#[derive(Clone, Debug, PartialEq)]
pub struct Order<'a> {
    /// Its name.
    pub workflow: &'a str,
    /// Its argument.
    pub input: Value,
    /// Who asks for it.
    pub trigger: &'a str,
    /// The node or step after which it ends; it goes to its end when absent.
    pub until: Option<&'a str>,
}

/// The core of a hob that serves, as the API and the socket see it.
pub trait Hub: Send + Sync + 'static {
    /// All runs.
    fn runs(&self) -> &Runs;

    /// Whether the homelab was applied and triggers are served.
    fn ready(&self) -> bool;

    /// Why no more work is taken for now, if so: what was taken is queued, and its queues have limits.
    fn full(&self) -> Option<String> {
        None
    }

    /// The declared webhook for a request. `path` is what follows `/hooks`, with its leading slash and
    /// percent-encoded as in the request; so are the `params` of the answer.
    fn webhook(&self, method: &str, path: &str) -> Option<WebhookMatch>;

    /// Starts a declared workflow as the run `run`, an id of [`Runs::new_id`] that the caller can listen to beforehand.
    /// The ticket says when it is durable: who needs the end of the run alone does not wait for the disk twice.
    ///
    /// # Errors
    /// When there is none of this name, or the journal cannot take it.
    fn start(&self, run: RunId, order: Order<'_>) -> Result<Ticket, Diagnostic>;

    /// Starts a playbook that the owner of the state directory sent over the socket (see
    /// [`crate::playbook::Playbook::to_json`]); returns once that is durable.
    ///
    /// # Errors
    /// When it is malformed, or the journal cannot take it.
    fn start_playbook(&self, request: &serde_json::Value) -> Result<RunId, Diagnostic> {
        let playbook = crate::playbook::Playbook::from_json(request, &self.runs().host().registry)?;
        let id = self.runs().new_id();
        playbook.start(self.runs(), id).map_err(|error| error.diagnostic())?;
        self.runs().journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))?;
        Ok(id)
    }

    /// What `hob status --json` prints.
    fn status(&self) -> serde_json::Value;

    /// A service, or several that were declared as one, as `GET /services/{service}` tells it; `None` where there is none of
    /// this name.
    fn service_status(&self, service: &str) -> Option<serde_json::Value> {
        self.status()["services"].as_array()?.iter().find(|it| it["name"] == service).cloned()
    }

    /// The state of a service, and whether it is ready; `None` where there is none of this name.
    fn health(&self, _service: &str) -> Option<(&'static str, bool)> {
        None
    }

    /// Who holds what of the graphics cards, as `hob gpu --json` prints it; `null` where no service uses one.
    fn graphics(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// What is not as declared, as `hob plan --json` prints it.
    ///
    /// # Errors
    /// When this process keeps no services, or what runs cannot be seen.
    fn plan(&self) -> Result<serde_json::Value, Diagnostic> {
        Err(Diagnostic::error(Code::NoDaemon, "this process keeps no services"))
    }

    /// Has all that is declared run as declared; blocks until it has come to rest, and gives the plan that was carried out.
    /// With a `basis`, only if that of the plan is still the same.
    ///
    /// # Errors
    /// When this process keeps no services, the world has changed since, or a service did not get ready.
    fn bring_up(&self, _basis: Option<&str>) -> Result<serde_json::Value, Diagnostic> {
        Err(Diagnostic::error(Code::NoDaemon, "this process keeps no services"))
    }

    /// Stops all services; blocks until they are.
    ///
    /// # Errors
    /// When this process keeps no services, or one cannot be stopped.
    fn bring_down(&self) -> Result<serde_json::Value, Diagnostic> {
        Err(Diagnostic::error(Code::NoDaemon, "this process keeps no services"))
    }

    /// What `hob boot explain --json` prints.
    ///
    /// # Errors
    /// When no boot is recorded yet, or its record cannot be read.
    fn boot(&self) -> Result<serde_json::Value, Diagnostic> {
        let boot = keeper::last_boot(&**self.runs().journal())?;
        let none = || Diagnostic::error(Code::UnknownName, "no boot is recorded yet");
        boot.map(|boot| keeper::explained(&boot)).ok_or_else(none)
    }

    /// What `hob schedule list --json` prints.
    fn schedules(&self) -> serde_json::Value;

    /// Carries out a command about a schedule.
    ///
    /// # Errors
    /// When this process serves none, there is none of this name, or its state forbids it.
    fn schedule(&self, name: &str, _command: ScheduleCommand) -> Result<serde_json::Value, Diagnostic> {
        let text = format!("this process serves no schedules, and so none called `{name}`");
        Err(Diagnostic::error(Code::NoDaemon, text))
    }

    /// Carries out a command about a service; blocks until it is done.
    ///
    /// # Errors
    /// When there is no such service, or it did not come to the state that was asked for.
    fn service(&self, name: &str, request: &ServiceRequest) -> Result<serde_json::Value, Diagnostic>;

    /// Makes a service from a newer image, if the registry has one; only fetches it with `dry_run`. Blocks until the new
    /// image has done well or was rolled back.
    ///
    /// # Errors
    /// When there is no such service, it is held or has no image, or the image cannot be fetched.
    fn update_service(&self, name: &str, _dry_run: bool) -> Result<serde_json::Value, Diagnostic> {
        let text = format!("this process serves no services, and so none called `{name}`");
        Err(Diagnostic::error(Code::NoDaemon, text))
    }

    /// What measures this process, if others look at it, too: each number is measured once for all.
    fn numbers(&self) -> Option<Arc<metrics::Numbers>> {
        None
    }

    /// What `hob alerts list --json` prints.
    fn alerts(&self) -> serde_json::Value {
        serde_json::json!({ "alerts": [], "silences": [] })
    }

    /// Does not tell of some alerts for a while.
    ///
    /// # Errors
    /// When this process serves none, or it covers none.
    fn silence(&self, _order: SilenceOrder) -> Result<serde_json::Value, Diagnostic> {
        Err(no_alerts())
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// When there is none of this id.
    fn unsilence(&self, _id: &str) -> Result<serde_json::Value, Diagnostic> {
        Err(no_alerts())
    }

    /// What an alert finds in these numbers; tells its channels so, if wanted.
    ///
    /// # Errors
    /// When there is none of this name.
    fn test_alert(&self, _name: &str, _: &Numbers, _send: bool) -> Result<serde_json::Value, Diagnostic> {
        Err(no_alerts())
    }

    /// What `hob backup status --json` prints.
    ///
    /// # Errors
    /// When the journal cannot be read.
    fn backups(&self) -> Result<serde_json::Value, Diagnostic> {
        Err(no_backups())
    }

    /// Starts a run that does something with the backups of a dataset; returns once that is durable.
    ///
    /// # Errors
    /// When there is no such dataset or act, or something stands against it.
    fn backup(&self, _dataset: &str, _act: &str, _input: Value) -> Result<RunId, Diagnostic> {
        Err(no_backups())
    }

    /// What `hob setup list --json` prints.
    fn setups(&self) -> serde_json::Value {
        serde_json::json!([])
    }

    /// Forgets that a step was done, so that it is done again.
    ///
    /// # Errors
    /// When there is none of this name, or it is being done.
    fn reset_setup(&self, name: &str) -> Result<serde_json::Value, Diagnostic> {
        Err(Diagnostic::error(Code::UnknownName, format!("there is no setup `{name}`")))
    }

    /// The links that answer approvals, where this process serves any.
    fn links(&self) -> Option<&Links> {
        None
    }

    /// What `hob notify list --json` prints.
    fn notices(&self) -> serde_json::Value {
        serde_json::json!({ "file": null, "lines": [] })
    }

    /// Forgets the lines that are shown at login.
    fn clear_notices(&self) -> serde_json::Value {
        serde_json::json!({ "cleared": 0 })
    }

    /// What there is to measure of the homelab that is served.
    fn measured(&self) -> Vec<Family> {
        vec![]
    }

    /// The process ids that live with this effect key in their environment.
    fn living(&self, key: &str) -> Vec<u32>;
}

fn no_backups() -> Diagnostic {
    Diagnostic::error(Code::NoDaemon, "this process serves no homelab, and so no backups")
}

fn no_alerts() -> Diagnostic {
    Diagnostic::error(Code::NoDaemon, "this process serves no alerts")
}
