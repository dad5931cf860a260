//! What becomes of an effect whose outcome a crash left unknown.

use hob_model::{EffectClass, EntryKind, OnDoubt, OpError, Resolution, Value};
use hob_primitive::{Cancel, Probe};

use super::{Passage, Thrown};
use crate::latch::Halt;
use crate::records::Record;
use crate::request::Request;

impl Passage<'_> {
    /// An intent without an outcome: the process ended in between.
    pub(super) fn settle(
        &self,
        request: &Request,
        undoes: bool,
        record: &Record,
    ) -> Result<Result<Value, OpError>, Thrown> {
        match &record.resolution {
            Some(Resolution::Skip) => return Ok(Ok(Value::Unit)),
            Some(Resolution::Result(payload)) => return Ok(self.run().load(payload)),
            Some(Resolution::Fail) => return Ok(Err(self.stamp(in_doubt_error()))),
            Some(Resolution::Retry) => return self.act(request, undoes, Some(record)),
            None => {}
        }
        if let Some(halt) = self.branch.barrier() {
            if halt == Halt::Cancelled && record.is_unknown() {
                self.branch.give_up(self.n, EntryKind::Abandoned { position: self.position.clone() });
            }
            return Err(self.branch.halt(halt));
        }
        if record.doubt {
            return Err(self.park());
        }
        match record.class.unwrap_or(request.class) {
            EffectClass::Keyed => match self.probe(request, record) {
                Ok(Probe::Done(value)) => {
                    let result = Ok(value);
                    self.record_outcome(EffectClass::Keyed, None, &result);
                    Ok(result)
                }
                Ok(Probe::Failed(error)) => {
                    let result = Err(self.stamp(error));
                    self.record_outcome(EffectClass::Keyed, None, &result);
                    Ok(result)
                }
                Ok(Probe::NotDone) => self.act(request, undoes, Some(record)),
                Ok(Probe::Unknown(_)) | Err(_) => Err(self.doubt()),
            },
            EffectClass::Once => match self.on_doubt(request) {
                OnDoubt::Ask => Err(self.doubt()),
                OnDoubt::Retry => {
                    self.resolve(Resolution::Retry);
                    self.act(request, undoes, Some(record))
                }
                OnDoubt::Skip => {
                    self.resolve(Resolution::Skip);
                    Ok(Ok(Value::Unit))
                }
                OnDoubt::Fail => {
                    self.resolve(Resolution::Fail);
                    Ok(Err(self.stamp(in_doubt_error())))
                }
            },
            EffectClass::Pure | EffectClass::Observe | EffectClass::Ensure => {
                self.act(request, undoes, Some(record))
            }
        }
    }

    /// What the call says, else what its operation says, else what holds for the run.
    pub(super) fn on_doubt(&self, request: &Request) -> OnDoubt {
        let of_operation = self.operation.on_doubt.and_then(OnDoubt::parse);
        request.on_doubt.or(of_operation).unwrap_or(self.run().started.on_doubt)
    }

    fn resolve(&self, resolution: Resolution) {
        self.branch.keep(self.n, |record| record.resolution = Some(resolution.clone()));
        let by = "on_doubt".to_owned();
        self.run()
            .append(vec![EntryKind::Resolved { position: self.position.clone(), resolution, by }], vec![]);
    }

    fn doubt(&self) -> Thrown {
        self.branch.keep(self.n, |record| record.doubt = true);
        self.run().append(vec![EntryKind::Doubt { position: self.position.clone() }], vec![]);
        self.park()
    }

    fn park(&self) -> Thrown {
        crate::run_cx::lock(&self.run().doubts).push(self.position.clone());
        self.branch.halt(Halt::Suspended)
    }

    fn probe(&self, request: &Request, record: &Record) -> Result<Probe, OpError> {
        let keyed =
            self.operation.keyed.ok_or_else(|| OpError::failed("the operation has no probe any more"))?;
        let (key, noted) = match &record.intent {
            Some((key, noted)) => (key.clone(), self.run().load(noted)?),
            None => (self.key(), Value::Unit),
        };
        let ctx = self.ctx(request, key, noted, Cancel::default());
        let found = self.run().host.performer.probe(keyed.probe, &ctx, request.args());
        super::seal::probe(&self.run().host, found)
    }
}

fn in_doubt_error() -> OpError {
    OpError::failed("its outcome is unknown after a crash, and on_doubt says fail").retryable(false)
}
