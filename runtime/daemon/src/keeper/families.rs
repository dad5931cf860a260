//! Services as numbers.

use hob_planner::progress::overall;
use hob_primitive::Family;

use super::Keeper;
use super::table::Entry;

impl Keeper {
    /// The state of a service, or of several that were declared as one, and whether all are ready; `None` where there is none of
    /// this name.
    #[must_use]
    pub fn health(&self, service: &str) -> Option<(&'static str, bool)> {
        let (members, table) = (self.inner.homelab.members(service), self.inner.table());
        let states: Vec<_> = members.iter().map(|it| table.state(&it.name)).collect();
        let is_ready = states.iter().all(|state| state.is_ready());
        (!states.is_empty()).then(|| (overall(&states).as_str(), is_ready))
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
