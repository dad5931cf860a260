//! What the operations share: which manager is meant, and waiting for its jobs.

use std::sync::Arc;

use hob_model::{OpError, Value};
use hob_primitive::{Ctx, IntoValue, Options};

use crate::name::UnitName;
use crate::port::{Facts, Fault, Reply, Scope, UnitsPort, Verb};
use crate::problem::plain;

/// Options of operations that only say which manager is meant.
#[derive(Debug, Options)]
pub(crate) struct ScopeOptions {
    /// Whether the user's own manager is meant instead of the machine's.
    #[option(default = "false")]
    pub(crate) user: bool,
}

/// A manager.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: Arc<dyn UnitsPort>,
    pub(crate) scope: Scope,
}

/// What a job brought about.
#[derive(IntoValue)]
pub(crate) struct Outcome {
    pub(crate) unit: String,
    pub(crate) changed: bool,
    pub(crate) active: String,
    pub(crate) sub: String,
    pub(crate) invocation_id: Option<String>,
    /// Why systemd did nothing although the job ended well.
    pub(crate) skipped: Option<String>,
}

impl Outcome {
    /// From the state of the unit after the job.
    pub(crate) fn new(facts: Facts, changed: bool, verb: Verb) -> Self {
        let starts = matches!(verb, Verb::Start | Verb::Restart);
        let skipped = starts && !facts.conditions_held && facts.active == "inactive";
        Self {
            unit: facts.name,
            changed: changed && !skipped,
            active: facts.active,
            sub: facts.sub,
            invocation_id: facts.invocation,
            skipped: skipped.then(|| "a condition in its file does not hold".to_owned()),
        }
    }
}

impl Target {
    pub(crate) fn of(cx: &Ctx, user: bool) -> Result<Self, OpError> {
        let scope = if user { Scope::User } else { Scope::System };
        Ok(Self { port: cx.port::<dyn UnitsPort>()?, scope })
    }

    /// The error of a fault that no unit is to blame for.
    pub(crate) fn plain(&self, fault: Fault) -> OpError {
        plain(fault, self.scope)
    }

    /// A unit that exists.
    pub(crate) async fn facts(&self, unit: &UnitName) -> Result<Facts, OpError> {
        let facts = match self.port.facts(self.scope, unit.as_str()).await {
            Ok(facts) => facts,
            Err(fault) => return Err(self.explain(unit.as_str(), fault).await),
        };
        match facts.load.as_str() {
            // One whose file was removed still exists while it runs.
            "not-found" if facts.active == "inactive" => Err(self.no_such(unit.as_str()).await),
            _ => Ok(facts),
        }
    }

    /// Waits for what `cx` lets it wait for: its timeout, and a cancel.
    ///
    /// A job goes on when nobody waits for it, so the error says so; that is why the operations that wait have a
    /// grace and end by themselves.
    pub(crate) async fn wait<T>(
        &self,
        cx: &Ctx,
        unit: &str,
        doing: &str,
        what: Reply<'_, T>,
    ) -> Result<T, OpError> {
        let late = async {
            match cx.timeout() {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let error = tokio::select! {
            biased;
            it = what => match it {
                Ok(it) => return Ok(it),
                Err(fault) => return Err(self.explain(unit, fault).await),
            },
            () = cx.cancel().cancelled() => OpError::cancelled(format!("{doing} {unit}: cancelled while it was waited for")),
            () = late => OpError::timeout(format!("{doing} {unit} takes longer than the timeout of the call")),
        };
        let log = self.last_lines(unit, crate::problem::ERROR_LOG_LINES).await;
        Err(error
            .hint("the job goes on in systemd; units::status shows it")
            .detail("unit", unit)
            .detail("log", log))
    }

    /// Does it by a job and waits for its end.
    pub(crate) async fn job(&self, cx: &Ctx, verb: Verb, unit: &UnitName) -> Result<Facts, OpError> {
        let doing = verb.as_str();
        let result =
            self.wait(cx, unit.as_str(), doing, self.port.job(self.scope, verb, unit.as_str())).await?;
        match result.as_str() {
            "done" => self.facts(unit).await,
            // A job that another one of the same kind took over: what was asked for is being done.
            "collected" | "once" => self.facts(unit).await,
            other => Err(self.job_error(unit.as_str(), doing, other).await),
        }
    }
}

/// What a dry run takes for the outcome of a job.
pub(crate) fn modelled(unit: String, active: &str, sub: &str) -> Value {
    let outcome = Outcome {
        unit,
        changed: true,
        active: active.to_owned(),
        sub: sub.to_owned(),
        invocation_id: None,
        skipped: None,
    };
    outcome.into()
}
