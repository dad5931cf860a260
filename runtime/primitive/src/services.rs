//! The services of the homelab, as primitives see them.

use std::time::Duration;

use hob_model::{OpError, Value};

use crate::Cancel;

/// What a run asks of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRequest {
    /// That it runs and is ready, and so what it needs.
    Start,
    /// That it does not run, and so nothing that needs it.
    Stop,
    /// That it is stopped and started, with what needs it.
    Restart,
    /// As [`ServiceRequest::Restart`], if a secret that it uses has another value than it was handed; nothing of one that is
    /// not to run.
    Renew,
    /// That it is made from the image that its name stands for in the registry now, if that does well.
    Update {
        /// Whether the image is only fetched.
        dry_run: bool,
    },
    /// Nothing but to know when it is ready.
    WaitReady,
    /// That nobody but the run touches it.
    Hold {
        /// For how long at most; until the run ends when absent.
        duration: Option<Duration>,
        /// Why, for people.
        reason: String,
    },
    /// That it is looked after again.
    Release,
}

/// How long a caller waits for what it asked for.
#[derive(Clone, Copy, Debug)]
pub struct Patience<'a> {
    /// At most so long; for ever when absent.
    pub timeout: Option<Duration>,
    /// Until this says "stop now".
    pub cancel: &'a Cancel,
}

/// The port to the services that this process keeps.
pub trait Services: Send + Sync {
    /// All services, as `hob status --json` prints them.
    ///
    /// # Errors
    /// `unavailable` when this process keeps none.
    fn list(&self) -> Result<Vec<Value>, OpError>;

    /// One of them.
    ///
    /// # Errors
    /// As [`Services::list`]; `not_found` when there is no such service.
    fn status(&self, name: &str) -> Result<Value, OpError>;

    /// The service `name` and those that need it and run, in the order in which they start: who stops with it.
    ///
    /// # Errors
    /// As [`Services::status`].
    fn stops_with(&self, name: &str) -> Result<Vec<String>, OpError>;

    /// The services that use a secret, in the order in which they start.
    ///
    /// # Errors
    /// As [`Services::list`].
    fn users_of(&self, secret: &str) -> Result<Vec<String>, OpError>;

    /// Carries out what `run` asks of the service `name`, and blocks until it has come to rest; gives the service as it is
    /// then, for [`ServiceRequest::Stop`] the names of those that were stopped, in the order in which they start, and for
    /// [`ServiceRequest::Update`] what came of it: `service image result state note`, with `from to` where there is a newer one.
    ///
    /// # Errors
    /// As [`Services::status`]; `conflict` when somebody else holds it, `failed` when it does not come to the state
    /// that was asked for, `timeout` and `cancelled` as `patience` says.
    fn ask(
        &self,
        run: &str,
        name: &str,
        request: &ServiceRequest,
        patience: Patience<'_>,
    ) -> Result<Value, OpError>;
}
