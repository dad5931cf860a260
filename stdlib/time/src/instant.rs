//! Instants as texts, and time zones by name.

use hob_model::names::nearest;
use hob_model::{OpError, Value};
use hob_primitive::{FromValue, Mismatch};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// An instant, given as a text in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl FromValue for Instant {
    const KIND: &'static str = "string";

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let text = String::from_value(value)?;
        read(&text).map(Self).map_err(|why| Mismatch {
            message: format!("`{}` is no time: {why}", shortened(&text)),
            hint: Some(
                "times are RFC 3339, such as \"2026-01-02T03:04:05Z\"; time::parse reads other forms"
                    .to_owned(),
            ),
        })
    }
}

impl Instant {
    /// This instant in a time zone, UTC when none is named.
    pub(crate) fn zoned(self, timezone: Option<&str>) -> Result<Zoned, OpError> {
        Ok(self.0.to_zoned(timezone.map_or(Ok(TimeZone::UTC), zone)?))
    }
}

/// RFC 3339 with an offset; a name in brackets (RFC 9557), which jiff also reads, is no part of it.
pub(crate) fn read(text: &str) -> Result<Timestamp, String> {
    if text.contains('[') {
        return Err("a time zone in brackets is no RFC 3339".to_owned());
    }
    text.parse().map_err(|error: jiff::Error| error.to_string())
}

/// RFC 3339 in UTC.
pub(crate) fn plain(instant: Timestamp) -> String {
    instant.to_string()
}

/// RFC 3339 with the offset of the zone.
pub(crate) fn with_offset(zoned: &Zoned) -> String {
    zoned.timestamp().display_with_offset(zoned.offset()).to_string()
}

/// The time zone of this name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, OpError> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "zones are names of the IANA database, such as \"Europe/Berlin\"".to_owned(),
        };
        OpError::invalid(format!("unknown time zone `{}`", shortened(name))).hint(hint)
    })
}

/// Enough of a text for a message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}
