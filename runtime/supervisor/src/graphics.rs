//! Graphics cards, for services that share them: the port that looks at them, and hands them out.

use hob_model::OpError;
use hob_planner::declaration::Gpu;
use hob_planner::room::Card;
use hob_primitive::Patience;

use crate::port::Running;

/// Stands for the processes of all runs among services: no service has an empty name.
pub const RUNS: &str = "";

/// What somebody is seen to use of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name of the service, or [`RUNS`].
    pub service: String,
    /// The card's id.
    pub card: String,
    /// Memory of the card, in bytes; absent where the driver does not tell.
    pub bytes: Option<u64>,
}

/// The cards, and who uses them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The cards, in the order of their addresses on the bus.
    pub cards: Vec<Card>,
    /// What services use; each has a line for each card that it uses.
    pub uses: Vec<Use>,
}

/// Those who know the graphics cards of this machine. All methods may block.
pub trait Graphics: Send + Sync {
    /// Looks at the cards, and at what these services use of them.
    ///
    /// # Errors
    /// When the driver refuses to answer, or does not answer in time.
    fn look(&self, services: &[Running]) -> Result<Seen, OpError>;

    /// What a container is given to use a card, or all of them: names of CDI devices, or paths of device nodes.
    ///
    /// # Errors
    /// When a card cannot be used, or what it takes is not there; with the cure.
    fn devices(&self, card: Option<&str>) -> Result<Vec<String>, OpError>;
}

/// Memory of a card that a run has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which one: the run, and which of its calls.
    pub id: String,
    /// The card's id.
    pub card: String,
    /// What people call the card.
    pub name: String,
    /// Its place among all cards.
    pub index: usize,
    /// How much memory, in bytes.
    pub bytes: u64,
}

/// Whoever shares the memory of the cards out between services and runs.
pub trait Leases: Send + Sync {
    /// Blocks until a run has memory of a card for itself, until it ends or lets go. The same `effect` of it has the same one.
    ///
    /// # Errors
    /// `unavailable` when it cannot have it, or nobody shares cards out here; `timeout` and `cancelled` as `patience` says.
    fn reserve(
        &self,
        run: &str,
        effect: &str,
        wanted: &Gpu,
        patience: Patience<'_>,
    ) -> Result<Lease, OpError>;

    /// Lets go of it; whether the run had it.
    ///
    /// # Errors
    /// `invalid` when it is one of another run.
    fn release(&self, run: &str, lease: &str) -> Result<bool, OpError>;
}
