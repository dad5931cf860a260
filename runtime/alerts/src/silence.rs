//! What is not told for a while.

use hob_model::Timestamp;
use hob_model::pattern::wildcard;

use crate::rule::Labels;

/// What a person does not want to hear of until some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// What it is ended by.
    pub id: String,
    /// The names of rules; `*` stands for any characters.
    pub alert: String,
    /// The labels that something must have; `*` stands for any characters.
    pub labels: Labels,
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Silence {
    /// Whether it covers what the rule of this name found with these labels.
    #[must_use]
    pub fn covers(&self, alert: &str, labels: &Labels) -> bool {
        let has = |(key, wanted): (&String, &String)| labels.get(key).is_some_and(|it| wildcard(wanted, it));
        wildcard(&self.alert, alert) && self.labels.iter().all(has)
    }
}
