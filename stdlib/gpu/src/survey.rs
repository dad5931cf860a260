//! What the machine's cards and their users are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use hob_model::OpError;

use crate::access;
use crate::cdi::{self, CdiDevice};
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

/// The specifications of the Container Device Interface that no container gets a card by, each with the reason.
///
/// # Errors
/// As [`cards`].
pub async fn stale(port: &dyn GpuPort) -> Result<Vec<String>, OpError> {
    let known = cdi::devices(&port.cdi_files().await.map_err(refused)?);
    let there = access::existing(port, access::paths(&[], &known)).await?;
    let told = |device: &CdiDevice| {
        let problem = access::problem(device, &|path: &Path| there.contains(path))?;
        Some(format!(
            "the CDI specification {} is stale: {problem}; {}",
            device.file.display(),
            access::GENERATE
        ))
    };
    let mut stale: Vec<String> = known.iter().filter_map(told).collect();
    stale.dedup();
    Ok(stale)
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
