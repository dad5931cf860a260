//! Which readings of a supply are news.

use std::time::Duration;

use crate::reading::{Power, Reading};

/// A supply that is followed.
#[derive(Debug)]
pub(crate) struct Follow {
    told: Option<Reading>,
    /// For how long nothing was heard.
    silent: Duration,
    /// After so much silence nothing is known any more.
    dead_after: Duration,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) reading: Reading,
    /// Where power came from before; none where nothing was told yet.
    pub(crate) before: Option<Power>,
}

impl News {
    /// Whether what the supply feeds must stop now: it says so, or it fell silent while its battery was in use.
    pub(crate) fn is_critical(&self) -> bool {
        match self.reading.power {
            Power::Low | Power::Shutdown => true,
            Power::Unknown => matches!(self.before, Some(Power::Battery | Power::Low | Power::Shutdown)),
            Power::Online | Power::Battery => false,
        }
    }
}

impl Follow {
    /// One that was never heard, and of which nothing is known after so much silence.
    pub(crate) fn new(dead_after: Duration) -> Self {
        Self { told: None, silent: Duration::ZERO, dead_after }
    }

    /// Takes in what was read. It is news where power comes from elsewhere than was told, and where a battery that is in use
    /// has lost a tenth of its charge since.
    pub(crate) fn heard(&mut self, reading: Reading) -> Option<News> {
        self.silent = Duration::ZERO;
        let is_news = self.told.as_ref().is_none_or(|told| {
            let drained = told.charge.zip(reading.charge).is_some_and(|(told, now)| told - now >= 0.1);
            told.power != reading.power || drained && reading.power != Power::Online
        });
        is_news.then(|| self.tell(reading))
    }

    /// Nothing was heard for another `pause`: news once that has lasted.
    pub(crate) fn missed(&mut self, pause: Duration) -> Option<News> {
        self.silent += pause;
        let is_told = self.told.as_ref().is_some_and(|told| told.power == Power::Unknown);
        (self.silent >= self.dead_after && !is_told).then(|| self.tell(Reading::unknown()))
    }

    fn tell(&mut self, reading: Reading) -> News {
        let before = self.told.replace(reading.clone()).map(|told| told.power);
        News { reading, before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD_AFTER: Duration = Duration::from_secs(15);

    fn reading(power: Power, charge: f64) -> Reading {
        Reading { power, charge: Some(charge), ..Reading::unknown() }
    }

    #[test]
    fn changes_and_tenths_of_a_battery_in_use_are_news() {
        let mut follow = Follow::new(DEAD_AFTER);
        for (power, charge, before) in [
            (Power::Online, 1.0, Some(None)),
            (Power::Online, 0.5, None),
            (Power::Battery, 0.5, Some(Some(Power::Online))),
            (Power::Battery, 0.45, None),
            (Power::Battery, 0.39, Some(Some(Power::Battery))),
            (Power::Low, 0.39, Some(Some(Power::Battery))),
            (Power::Online, 0.39, Some(Some(Power::Low))),
        ] {
            let news = follow.heard(reading(power, charge));
            assert_eq!(news.as_ref().map(|news| news.before), before, "{power:?} {charge}");
            assert_eq!(news.is_some_and(|news| news.is_critical()), power == Power::Low);
        }
    }

    #[test]
    fn who_falls_silent_on_battery_is_critical() {
        for (power, critical) in [(Power::Online, false), (Power::Battery, true)] {
            let mut follow = Follow::new(DEAD_AFTER);
            follow.heard(reading(power, 1.0));
            let missed: Vec<Option<bool>> =
                (0..4).map(|_| follow.missed(DEAD_AFTER / 3).map(|news| news.is_critical())).collect();
            assert_eq!(missed, [None, None, Some(critical), None]);
            let news = follow.heard(reading(power, 1.0)).unwrap();
            assert_eq!((news.before, news.is_critical()), (Some(Power::Unknown), false));
            // A short silence is none.
            assert_eq!([follow.missed(DEAD_AFTER / 2), follow.heard(reading(power, 1.0))], [None, None]);
            assert_eq!(follow.missed(DEAD_AFTER / 2), None);
        }
    }

    #[test]
    fn who_was_never_heard_is_unknown_and_not_critical() {
        let news = Follow::new(DEAD_AFTER).missed(DEAD_AFTER).unwrap();
        assert_eq!((news.before, news.is_critical()), (None, false));
    }
}
