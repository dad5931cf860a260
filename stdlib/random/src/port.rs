//! Where chance comes from.

use hob_model::OpError;

/// A source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the source gives nothing.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), OpError>;
}
