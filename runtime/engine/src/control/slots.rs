//! The branches of a group while it goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use hob_model::{OpError, Position, Value};

use super::group::Work;
use crate::latch::{Halt, Latch};

/// Where a branch of the group stands.
pub(super) enum State {
    Queued,
    Running,
    Suspended,
    /// Its thread ended for a reason that ends the whole run.
    Halted(Halt),
    Ended(Result<Value, OpError>),
    /// Its group told it to end, and it did; the record of that follows.
    Leaving,
    Cancelled,
}

pub(super) struct Slot {
    pub(super) work: Work,
    pub(super) position: Position,
    pub(super) latch: Arc<Latch>,
    pub(super) state: State,
    /// Whether it registered compensations.
    pub(super) compensates: bool,
}

pub(super) struct Slots {
    pub(super) all: Vec<Slot>,
    pub(super) queue: VecDeque<usize>,
    pub(super) running: usize,
    /// Who ended first, for a race.
    pub(super) first: Option<usize>,
    /// Whether the rest was told to end.
    pub(super) over: bool,
}
