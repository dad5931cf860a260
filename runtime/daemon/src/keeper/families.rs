//! Services as numbers.

use hob_primitive::Family;

use super::table::Entry;
use super::{Keeper, replicas};

impl Keeper {
    /// The state of a service, and whether it is ready; `None` where there is none of this name.
    #[must_use]
    pub fn health(&self, service: &str) -> Option<(&'static str, bool)> {
        match self.inner.homelab.service(service) {
            Some(one) => {
                let state = self.inner.table().state(&one.name);
                Some((state.as_str(), state.is_ready()))
            }
            None => replicas::health(&self.inner, service),
        }
    }

    /// What there is to tell of each service.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let table = self.inner.table();
        let (services, homelab) = (&table.services, &self.inner.homelab);
        let of = |read: fn(&Entry) -> f64| {
            homelab.services.iter().map(move |service| {
                let tier = service.tier.clone().unwrap_or_default();
                let number = services.get(&service.name).map_or(0.0, read);
                ([("service", service.name.clone()), ("tier", tier)], number)
            })
        };
        let states = homelab.services.iter().map(|service| {
            let state = table.state(&service.name).as_str().to_owned();
            ([("service", service.name.clone()), ("state", state)], 1.0)
        });
        vec![
            Family::gauge("hob_service_ready", "Whether a service is ready")
                .with(of(|entry| f64::from(entry.state.is_ready()))),
            Family::gauge("hob_service_state", "1 for the state that a service is in").with(states),
            Family::gauge("hob_service_failed_starts", "Starts in a row that failed")
                .with(of(|entry| f64::from(entry.failures))),
        ]
    }
}
