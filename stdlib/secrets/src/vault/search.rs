//! Finding the values of opened secrets in what comes from outside.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use hob_model::{SecretForm, SecretRef};
use hob_primitive::Opened;

use super::form;

/// Secrets and forms below this many bytes are not searched for: they would be found everywhere.
pub(super) const SEARCHED_BYTES_MIN: usize = 8;

/// The bits of the first filter.
const FILTER_BITS: usize = 1 << 16;

/// What is searched for. A text is passed once, whatever the number of secrets: each of its windows of eight bytes is looked
/// up among the beginnings of all forms.
pub(super) struct Searcher {
    known: BTreeSet<SecretRef>,
    patterns: Vec<Pattern>,
    by_head: HashMap<u64, Vec<usize>>,
    /// Which heads there may be.
    filter: Vec<u64>,
}

struct Pattern {
    bytes: Opened,
    reference: SecretRef,
}

/// A secret that was found.
pub(super) struct Found<'s> {
    pub(super) range: Range<usize>,
    pub(super) reference: &'s SecretRef,
}

impl Default for Searcher {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            patterns: Vec::new(),
            by_head: HashMap::new(),
            filter: vec![0; FILTER_BITS / 64],
        }
    }
}

fn head_at(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<SEARCHED_BYTES_MIN>().map(|head| u64::from_le_bytes(*head))
}

fn bit_of(head: u64) -> usize {
    // The golden ratio spreads what differs in a few bits (Knuth, volume 3, section 6.4).
    (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % FILTER_BITS
}

impl Searcher {
    /// Whether nothing is searched for.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Searches for a value from now on, in all its forms.
    pub(super) fn add(&mut self, reference: &SecretRef, value: &[u8]) {
        if value.len() < SEARCHED_BYTES_MIN || !self.known.insert(reference.clone()) {
            return;
        }
        for form in form::searched() {
            let Ok(bytes) = form::written(value, &form) else { continue };
            let Some(head) = head_at(&bytes) else { continue };
            // A word without special characters is its own percent-encoding; a part of a document keeps its own form.
            let same = form != SecretForm::Plain && *bytes == *value;
            let of_part = matches!(reference.form, SecretForm::Part { .. });
            if same || (of_part && form != SecretForm::Plain) {
                continue;
            }
            self.filter[bit_of(head) / 64] |= 1 << (bit_of(head) % 64);
            self.by_head.entry(head).or_default().push(self.patterns.len());
            let form = if of_part { reference.form.clone() } else { form };
            self.patterns.push(Pattern { bytes, reference: SecretRef { form, ..reference.clone() } });
        }
    }

    /// The secrets in `text`, from its beginning to its end; of several at one place the longest.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Found<'_>> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(head) = text.get(at..).and_then(head_at) {
            let bit = bit_of(head);
            if self.filter[bit / 64] & (1 << (bit % 64)) != 0
                && let Some(longest) = self.longest(head, &text[at..])
            {
                let range = at..at + longest.bytes.len();
                at = range.end;
                found.push(Found { range, reference: &longest.reference });
            } else {
                at += 1;
            }
        }
        found
    }

    fn longest(&self, head: u64, text: &[u8]) -> Option<&Pattern> {
        let candidates = self.by_head.get(&head)?.iter().map(|at| &self.patterns[*at]);
        candidates
            .filter(|pattern| text.starts_with(&pattern.bytes))
            .max_by_key(|pattern| pattern.bytes.len())
    }
}
