//! Rate limits and quiet hours: when a message may go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hob_model::{OpError, Timestamp, duration};
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::PACED_MESSAGES_MAX;
use crate::message::Priority;

/// So many messages in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) count: usize,
    pub(crate) per: Duration,
}

impl Rate {
    /// Reads `"30/1h"`.
    pub(crate) fn parse(text: &str) -> Result<Self, OpError> {
        let wrong = || {
            OpError::invalid(format!("option `rate`: \"{}\" is no rate", text.escape_debug()))
                .hint("write how many in which time: \"30/1h\"")
        };
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: usize = count.trim().parse().map_err(|_| wrong())?;
        let per = duration::parse(per.trim()).map_err(|_| wrong())?;
        if count == 0 || count > PACED_MESSAGES_MAX || per.is_zero() {
            return Err(wrong());
        }
        Ok(Self { count, per })
    }
}

/// The hours in which only what is important disturbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// What is at least so important goes all the same.
    pub(crate) except: Priority,
}

impl Quiet {
    /// Reads a time of day: `"22:30"`.
    pub(crate) fn time(key: &str, text: &str) -> Result<Time, OpError> {
        Time::strptime("%H:%M", text).map_err(|_| {
            OpError::invalid(format!(
                "option `quiet`: `{key}`: \"{}\" is no time of day",
                text.escape_debug()
            ))
            .hint("write hours and minutes: \"22:30\"")
        })
    }

    /// When a message may go; `None`: now.
    pub(crate) fn until(&self, now: Timestamp, zone: &TimeZone, priority: Priority) -> Option<Timestamp> {
        if priority >= self.except {
            return None;
        }
        let local = now.to_zoned(zone.clone());
        let time = local.time();
        let over_midnight = self.from > self.to;
        let quiet = match over_midnight {
            false => self.from <= time && time < self.to,
            true => self.from <= time || time < self.to,
        };
        if !quiet {
            return None;
        }
        let day =
            if over_midnight && time >= self.from { local.date().tomorrow().ok()? } else { local.date() };
        day.to_datetime(self.to)
            .to_zoned(zone.clone())
            .ok()
            .map(|end| end.timestamp())
            .filter(|end| *end > now)
    }
}

/// The messages of each channel that count for its rate: when they may go, and which they are. Kept in memory: after a
/// restart a channel begins anew.
#[derive(Debug, Default)]
pub struct Paces(Mutex<HashMap<String, VecDeque<(Timestamp, String)>>>);

impl Paces {
    /// Takes a place for the message `key` of a channel; when it may go if that is not now. Whoever comes again when its time
    /// has come has its place still.
    pub(crate) fn take(&self, channel: &str, rate: Rate, key: &str, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(channel.to_owned()).or_default();
        let old = now.checked_sub(rate.per).unwrap_or(Timestamp::MIN);
        while taken.front().is_some_and(|(at, _)| *at <= old) || taken.len() >= PACED_MESSAGES_MAX {
            taken.pop_front();
        }
        if let Some((at, _)) = taken.iter().rev().find(|(_, known)| known == key) {
            return Some(*at).filter(|at| *at > now);
        }
        let after = taken.len().checked_sub(rate.count).and_then(|at| taken.get(at));
        let at = after.and_then(|(at, _)| at.checked_add(rate.per).ok()).map_or(now, |at| at.max(now));
        taken.push_back((at, key.to_owned()));
        Some(at).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn rates() {
        assert_eq!(Rate::parse("30/1h").unwrap(), Rate { count: 30, per: Duration::from_secs(3600) });
        for wrong in ["", "30", "0/1h", "x/1h", "1/0s", "1/", "-1/1h"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_than_the_rate_waits_each_for_a_place_of_its_own() {
        let (paces, rate) = (Paces::default(), Rate { count: 2, per: Duration::from_secs(60) });
        let now = at("2026-01-02T03:00:00Z");
        let times: Vec<_> = (0..5).map(|n| paces.take("ops", rate, &format!("k{n}"), now)).collect();
        let (one, two) = (Some(at("2026-01-02T03:01:00Z")), Some(at("2026-01-02T03:02:00Z")));
        assert_eq!(times, [None, None, one, one, two]);
        // Another channel has places of its own, and who comes again keeps its place.
        assert_eq!(paces.take("mail", rate, "k0", now), None);
        assert_eq!(paces.take("ops", rate, "k2", now), one);
        assert_eq!(paces.take("ops", rate, "k2", at("2026-01-02T03:01:00Z")), None);
        assert_eq!(paces.take("ops", rate, "k9", at("2026-01-02T04:00:00Z")), None);
    }

    #[test]
    fn quiet_hours_end_at_their_end() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let quiet = |from, to| Quiet {
            from: Quiet::time("from", from).unwrap(),
            to: Quiet::time("to", to).unwrap(),
            except: Priority::Urgent,
        };
        let (night, noon) = (quiet("22:00", "07:00"), quiet("12:00", "14:00"));
        let table = [
            (&night, "2026-01-02T20:59:59Z", None),
            (&night, "2026-01-02T21:00:00Z", Some("2026-01-03T06:00:00Z")),
            (&night, "2026-01-03T05:59:59Z", Some("2026-01-03T06:00:00Z")),
            (&night, "2026-01-03T06:00:00Z", None),
            // The night in which the clock goes forward is an hour shorter.
            (&night, "2026-03-28T21:00:00Z", Some("2026-03-29T05:00:00Z")),
            (&noon, "2026-01-02T11:30:00Z", Some("2026-01-02T13:00:00Z")),
            (&noon, "2026-01-02T13:00:00Z", None),
        ];
        for (quiet, now, until) in table {
            assert_eq!(quiet.until(at(now), &berlin, Priority::High), until.map(at), "{now}");
        }
        assert_eq!(night.until(at("2026-01-02T23:00:00Z"), &berlin, Priority::Urgent), None);
    }
}
