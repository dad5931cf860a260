//! The event bus, as primitives see it.

use hob_model::{OpError, Timestamp, Value};

/// An event that was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct BusEvent {
    /// Its number, from 1, in the order in which events came.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Value,
    /// Who said so.
    pub origin: String,
    /// When.
    pub at: Timestamp,
}

/// The port to the bus. Whoever holds the journal serves it.
pub trait EventBus: Send + Sync {
    /// Puts an event on the bus, durably.
    ///
    /// # Errors
    /// When its name or payload is none (see [`hob_model::event`]), or nothing can be recorded.
    fn emit(&self, name: &str, payload: Value, origin: &str) -> Result<(), OpError>;

    /// The events after number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<BusEvent>, OpError>;

    /// The number of the newest event; 0 when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    fn last(&self) -> Result<u64, OpError>;
}
