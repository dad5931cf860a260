//! Says when a long operation has to stop, keeps it within its budget, and tells how far it is.

use std::sync::Arc;
use std::time::Duration;

use hob_model::OpError;
use hob_primitive::{Ctx, Progress};

use crate::mover::Gauge;
use crate::tier::Tiers;

/// How many bytes go by between two reports of progress.
const REPORT_BYTES: u64 = 8 << 20;

/// The longest pause at a time: then it is looked whether to go on.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long to wait before looking again whether a part of the work is done.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// How long to wait before looking again whether another mover is done.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Watch {
    cx: Ctx,
    tiers: Arc<dyn Tiers>,
    message: String,
    begun: Duration,
    /// Bytes a second; 0 for as fast as it goes.
    rate: u64,
    done: u64,
    told: u64,
}

impl Watch {
    /// One for an operation that begins now.
    pub(crate) fn new(cx: &Ctx, tiers: &Arc<dyn Tiers>, message: String, rate: u64) -> Self {
        let (cx, tiers) = (cx.clone(), Arc::clone(tiers));
        Self { begun: tiers.elapsed(), cx, tiers, message, rate, done: 0, told: 0 }
    }
}

/// How long to wait so that `bytes` in `elapsed` are not more than `rate` bytes a second.
fn owed(bytes: u64, elapsed: Duration, rate: u64) -> Duration {
    #[allow(clippy::cast_precision_loss)] // microseconds need no more
    let due = if rate == 0 { 0.0 } else { bytes as f64 / rate as f64 };
    Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX).saturating_sub(elapsed)
}

impl Gauge for Watch {
    fn copied(&mut self, bytes: u64) -> Result<(), OpError> {
        self.done += bytes;
        if self.done - self.told >= REPORT_BYTES {
            self.told = self.done;
            let message = self.message.clone();
            self.cx.progress(Progress { message, done: self.done, total: None, bytes: true });
        }
        loop {
            self.check()?;
            let pause = owed(self.done, self.tiers.elapsed().saturating_sub(self.begun), self.rate);
            if pause.is_zero() {
                return Ok(());
            }
            let _ = self.cx.cancel().wait_timeout(pause.min(PAUSE_MAX));
        }
    }

    fn check(&mut self) -> Result<(), OpError> {
        if self.cx.cancel().is_cancelled() {
            return Err(OpError::cancelled(format!("{}: cancelled", self.message)));
        }
        let spent = self.tiers.elapsed().saturating_sub(self.begun);
        if self.cx.timeout().is_some_and(|timeout| spent >= timeout) {
            return Err(OpError::timeout(format!("{}: its time is over", self.message))
                .hint("what was done stays done; `timeout` sets how long it may take"));
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), OpError> {
        let _ = self.cx.cancel().wait_timeout(PAUSE_MIN);
        self.check()
    }

    fn wait(&mut self) -> Result<(), OpError> {
        let _ = self.cx.cancel().wait_timeout(LOOK_AGAIN);
        self.check().map_err(|error| error.hint("another move to the same target is still under way"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_by_waiting() {
        let second = Duration::from_secs(1);
        let cases = [
            (0, 0, 0, 0.0),
            (1000, 0, 0, 0.0), // no budget
            (1000, 0, 1000, 1.0),
            (1000, 1, 1000, 0.0),
            (5000, 2, 1000, 3.0),
            (1000, 9, 1000, 0.0), // what was not used before is not owed
        ];
        for (bytes, elapsed, rate, expected) in cases {
            assert_eq!(
                owed(bytes, second * elapsed, rate),
                second.mul_f64(expected),
                "{bytes} in {elapsed} s"
            );
        }
    }
}
