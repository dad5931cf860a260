//! Chance that a test can repeat.

use std::sync::Mutex;

use hob_model::OpError;

use crate::Entropy;

/// Bytes that follow from a seed (SplitMix64), for tests and simulations; it can be told to give nothing.
#[derive(Debug)]
pub struct FakeEntropy {
    state: Mutex<u64>,
    fails: bool,
}

impl FakeEntropy {
    /// The bytes of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: Mutex::new(seed), fails: false }
    }

    /// A source that always fails.
    #[must_use]
    pub fn failing() -> Self {
        Self { state: Mutex::new(0), fails: true }
    }
}

impl Entropy for FakeEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), OpError> {
        if self.fails {
            return Err(OpError::unavailable("the system gives no random numbers: told to fail"));
        }
        let mut state = self.state.lock().expect("no code panics while holding this lock");
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
