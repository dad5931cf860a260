//! The operating system's random numbers.

use hob_model::OpError;

use crate::Entropy;

/// The random numbers of the operating system (`getrandom(2)`), fit for keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), OpError> {
        getrandom::fill(bytes)
            .map_err(|error| OpError::unavailable(format!("the system gives no random numbers: {error}")))
    }
}
