//! Graphics cards, for services that share them: the port that looks at them, and hands them out.

use hob_model::OpError;
use hob_planner::room::Card;

use crate::port::Running;

/// What somebody is seen to use of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The name of the service.
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
