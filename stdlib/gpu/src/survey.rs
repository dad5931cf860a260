//! What the machine's cards and their users are.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hob_model::OpError;

use crate::port::{Card, Fault, GpuPort, GpuProcess};

/// Why the cards cannot be looked at, for a person.
pub(crate) fn refused(fault: Fault) -> OpError {
    OpError::unavailable(fault.message).nothing_happened().maybe_hint(fault.cure.map(str::to_owned))
}

/// The cards, in the order of their addresses on the bus.
///
/// # Errors
/// `unavailable` when a driver refuses to answer and no card is known without it.
pub async fn cards(port: &dyn GpuPort) -> Result<Vec<Card>, OpError> {
    port.cards().await.map_err(refused)
}

/// The processes that use `cards`, each with its card's place, the largest first.
///
/// # Errors
/// As [`cards`].
pub async fn processes(port: &dyn GpuPort, cards: &[Card]) -> Result<Vec<(usize, GpuProcess)>, OpError> {
    let places: BTreeMap<&str, usize> =
        cards.iter().enumerate().map(|(index, card)| (card.id.as_str(), index)).collect();
    let found = port.processes().await.map_err(refused)?.into_iter();
    let mut placed: Vec<_> =
        found.filter_map(|process| Some((*places.get(process.card.as_str())?, process))).collect();
    placed.sort_by_key(|(index, process)| (Reverse(process.memory), *index, process.pid));
    Ok(placed)
}
