//! What depends on the calendar and a time zone.

use hob_model::{OpError, Value};
use hob_primitive::{Choice, Options};
use jiff::civil::{DateTime, Weekday};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, Zoned};

use crate::instant::{read, shortened};

/// How far to move.
#[derive(Options)]
pub(crate) struct ShiftOptions {
    /// Years.
    #[option(default = "0")]
    years: i64,
    /// Months.
    #[option(default = "0")]
    months: i64,
    /// Weeks.
    #[option(default = "0")]
    weeks: i64,
    /// Days.
    #[option(default = "0")]
    days: i64,
    /// Hours.
    #[option(default = "0")]
    hours: i64,
    /// Minutes.
    #[option(default = "0")]
    minutes: i64,
    /// Seconds.
    #[option(default = "0")]
    seconds: i64,
    /// The time zone whose days are meant; UTC when left out.
    pub(crate) timezone: Option<String>,
}

impl ShiftOptions {
    /// All of them as one span.
    pub(crate) fn span(&self) -> Result<Span, OpError> {
        let span = Span::new()
            .try_years(self.years)
            .and_then(|span| span.try_months(self.months))
            .and_then(|span| span.try_weeks(self.weeks))
            .and_then(|span| span.try_days(self.days))
            .and_then(|span| span.try_hours(self.hours))
            .and_then(|span| span.try_minutes(self.minutes))
            .and_then(|span| span.try_seconds(self.seconds));
        span.map_err(|error| OpError::invalid(format!("too far: {error}")))
    }
}

/// What a time can be cut down to.
#[derive(Clone, Copy, Choice)]
pub(crate) enum CalendarUnit {
    /// 1 January.
    Year,
    /// The first.
    Month,
    /// Monday.
    Week,
    /// The first moment of the day, which is not midnight where the zone skips it.
    Day,
    /// Minute 0.
    Hour,
    /// Second 0.
    Minute,
}

/// The instant that `text` means.
pub(crate) fn parse(text: &str, format: Option<&str>, zone: Option<TimeZone>) -> Result<Timestamp, OpError> {
    let refuse = |why: String| OpError::invalid(format!("`{}` is no time: {why}", shortened(text)));
    let no_zone =
        || refuse("it has no offset".to_owned()).hint("name its zone: #{ timezone: \"Europe/Berlin\" }");
    let in_zone = |local: DateTime| {
        let zoned = local.to_zoned(zone.clone().ok_or_else(no_zone)?);
        zoned.map(|zoned| zoned.timestamp()).map_err(|error| refuse(error.to_string()))
    };
    match format {
        None => match (read(text), text.parse::<DateTime>()) {
            (Ok(instant), _) => Ok(instant),
            (Err(_), Ok(local)) => in_zone(local),
            (Err(why), Err(_)) => Err(refuse(why)
                .hint("times are RFC 3339, such as \"2026-01-02T03:04:05Z\"; `format` reads others")),
        },
        Some(format) => {
            let parts = strtime::parse(format, text).map_err(|error| refuse(error.to_string()))?;
            if parts.offset().is_some() || parts.iana_time_zone().is_some() {
                return parts
                    .to_timestamp()
                    .or_else(|_| parts.to_zoned().map(|zoned| zoned.timestamp()))
                    .map_err(|error| refuse(error.to_string()));
            }
            let local = parts.to_datetime().or_else(|error| match parts.to_date() {
                Ok(date) if parts.hour().is_none() => Ok(date.to_datetime(jiff::civil::Time::midnight())),
                _ => Err(error),
            });
            in_zone(local.map_err(|error| refuse(error.to_string()))?)
        }
    }
}

/// The time by a pattern of strftime.
pub(crate) fn format(zoned: &Zoned, pattern: &str) -> Result<String, OpError> {
    strtime::format(pattern, zoned)
        .map_err(|error| OpError::invalid(format!("the pattern `{}` is wrong: {error}", shortened(pattern))))
}

/// `"monday"` to `"sunday"`.
pub(crate) fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
        Weekday::Sunday => "sunday",
    }
}

/// The parts as a map.
pub(crate) fn parts(zoned: &Zoned) -> Value {
    let int = |number: i32| Value::from(number);
    Value::map([
        ("year", int(zoned.year().into())),
        ("month", int(zoned.month().into())),
        ("day", int(zoned.day().into())),
        ("hour", int(zoned.hour().into())),
        ("minute", int(zoned.minute().into())),
        ("second", int(zoned.second().into())),
        ("microsecond", int(zoned.subsec_nanosecond() / 1000)),
        ("weekday", weekday(zoned.weekday()).into()),
        ("day_of_year", int(zoned.day_of_year().into())),
        ("week", int(zoned.date().iso_week_date().week().into())),
        ("offset", int(zoned.offset().seconds())),
    ])
}

/// The start of the unit that `zoned` lies in.
pub(crate) fn start_of(zoned: &Zoned, unit: CalendarUnit) -> Result<Zoned, jiff::Error> {
    match unit {
        CalendarUnit::Year => zoned.first_of_year()?.start_of_day(),
        CalendarUnit::Month => zoned.first_of_month()?.start_of_day(),
        CalendarUnit::Week => {
            let past_monday = i64::from(zoned.weekday().to_monday_zero_offset());
            zoned.checked_sub(past_monday.days())?.start_of_day()
        }
        CalendarUnit::Day => zoned.start_of_day(),
        CalendarUnit::Hour => zoned.with().minute(0).second(0).subsec_nanosecond(0).build(),
        CalendarUnit::Minute => zoned.with().second(0).subsec_nanosecond(0).build(),
    }
}
