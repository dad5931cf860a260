//! What the API and the socket reach of the core.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hob_journal::Ticket;
use hob_model::{Diagnostic, RunId, Value};
use hob_primitive::{Family, ServiceRequest};
use hob_runs::Runs;
use serde_json::{Value as Json, json};

use super::Core;
use crate::alerts::{Alerts, SilenceOrder};
use crate::hub::{Hub, Order, WebhookMatch};
use crate::metrics::Numbers;
use crate::notices::links::Links;
use crate::schedules::ScheduleCommand;
use crate::triggers;

impl Hub for Core {
    fn runs(&self) -> &Runs {
        &self.node.runs
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    fn full(&self) -> Option<String> {
        self.triggers.full(&self.launch)
    }

    fn webhook(&self, method: &str, path: &str) -> Option<WebhookMatch> {
        triggers::webhook(&self.homelab, method, path)
    }

    fn start(&self, run: RunId, order: Order<'_>) -> Result<Ticket, Diagnostic> {
        triggers::start(&self.launch, &self.homelab, run, order)
    }

    fn status(&self) -> Json {
        let mut status = self.keeper.status();
        status["schedules"] = self.schedules();
        status["workflows"] = self.workflows_json().into();
        status["waiting"] = self.waiting_json().into();
        status
    }

    fn service_status(&self, name: &str) -> Option<Json> {
        self.keeper.service_status(name)
    }

    fn health(&self, service: &str) -> Option<(&'static str, bool)> {
        self.keeper.health(service)
    }

    fn graphics(&self) -> Json {
        self.keeper.graphics()
    }

    fn plan(&self) -> Result<Json, Diagnostic> {
        self.keeper.plan()
    }

    fn bring_up(&self, basis: Option<&str>) -> Result<Json, Diagnostic> {
        self.keeper.bring_up(basis)
    }

    fn bring_down(&self) -> Result<Json, Diagnostic> {
        self.keeper.bring_down()
    }

    fn schedules(&self) -> Json {
        self.scheduling.list()
    }

    fn schedule(&self, name: &str, command: ScheduleCommand) -> Result<Json, Diagnostic> {
        self.scheduling.command(name, command)
    }

    fn service(&self, name: &str, request: &ServiceRequest) -> Result<Json, Diagnostic> {
        self.keeper.ask(name, request)
    }

    fn update_service(&self, name: &str, dry_run: bool) -> Result<Json, Diagnostic> {
        self.keeper.update(name, dry_run)
    }

    fn backups(&self) -> Result<Json, Diagnostic> {
        self.backups.list(&**self.node.runs.journal(), self.node.runs.now())
    }

    fn backup(&self, dataset: &str, act: &str, input: Value) -> Result<RunId, Diagnostic> {
        self.backups.start(&self.launch, &self.homelab, &self.keeper, (dataset, act), input)
    }

    fn setups(&self) -> Json {
        self.keeper.setups()
    }

    fn reset_setup(&self, name: &str) -> Result<Json, Diagnostic> {
        self.keeper.reset_setup(name)
    }

    fn links(&self) -> Option<&Links> {
        Some(&self.links)
    }

    fn notices(&self) -> Json {
        self.notices.list()
    }

    fn clear_notices(&self) -> Json {
        self.notices.clear()
    }

    fn numbers(&self) -> Option<Arc<Numbers>> {
        self.numbers.get().cloned()
    }

    fn alerts(&self) -> Json {
        self.alerts.as_ref().map_or_else(|| json!({ "alerts": [], "silences": [] }), Alerts::list)
    }

    fn silence(&self, order: SilenceOrder) -> Result<Json, Diagnostic> {
        self.with_alerts(|alerts| alerts.silence(order))
    }

    fn unsilence(&self, id: &str) -> Result<Json, Diagnostic> {
        self.with_alerts(|alerts| alerts.unsilence(id))
    }

    fn test_alert(&self, name: &str, numbers: &hob_engine::Numbers, send: bool) -> Result<Json, Diagnostic> {
        self.with_alerts(|alerts| alerts.test(name, numbers, send))
    }

    fn measured(&self) -> Vec<Family> {
        let alerts = self.alerts.iter().map(Alerts::family);
        let backups = self.backups.families(&self.node.runs);
        let all = [self.keeper.families(), self.scheduling.families(), backups].concat();
        all.into_iter().chain(alerts).collect()
    }

    fn living(&self, key: &str) -> Vec<u32> {
        (self.living)(key)
    }
}
