//! The scheduler through its public surface.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clock_changes;
mod cronie;
mod crontab;
mod jobs;
mod ocps;
mod oncalendar;
mod oracle;
mod parse;
mod slots;
mod systemd;

use hob_scheduler::{Gap, LocalTime, OverlapHour, When};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The bundled zones: the same on each machine.
fn zones() -> &'static TimeZoneDatabase {
    static ZONES: std::sync::LazyLock<TimeZoneDatabase> = std::sync::LazyLock::new(TimeZoneDatabase::bundled);
    &ZONES
}

fn zone(name: &str) -> TimeZone {
    zones().get(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn when(text: &str) -> When {
    When::parse(text, zones()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn rules(zone_name: &str, gap: Option<Gap>, overlap_hour: Option<OverlapHour>) -> LocalTime {
    LocalTime { zone: zone(zone_name), gap, overlap_hour }
}

/// The first `count` fires after `from`, as local times with their offset.
fn fires(text: &str, rules: &LocalTime, from: &str, count: usize) -> Vec<String> {
    let shown = |at: Timestamp| {
        let offset = rules.zone.to_offset(at);
        at.display_with_offset(offset).to_string()
    };
    when(text).fires(time(from), rules).take(count).map(shown).collect()
}
