//! `OnCalendar` expressions, the whole grammar of systemd.time(7):
//! `[WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]] [ZONE]`, the shorthands, and `@SECONDS`.
//!
//! `~` in place of the last `-` counts days from the end of the month. Numbers come as `*`, lists,
//! ranges `a..b` and repetitions `a/n` and `a..b/n`; seconds may have six decimals. What systemd refuses is
//! refused here too, and so is an expression that never comes true.

mod field;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use self::field::{
    DAY, DAY_FROM_END, HOUR, MINUTE, MONTH, SECOND, Values, YEAR, days_from_end, seconds_of, set_of,
};
use crate::calendar::{Calendar, Days, HOURS, SIXTY, Seconds, WEEKDAYS, Years, narrow};
use crate::error::{Part, WhenError};

const WEEKDAY_NAMES: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// The shorthands and what they stand for.
const SHORTHANDS: [(&str, &str); 12] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
];

/// Reads an expression. The zone at its end, if there is one, is looked up in `zones`.
pub(crate) fn parse(
    text: Part<'_>,
    zones: &TimeZoneDatabase,
) -> Result<(Calendar, Option<TimeZone>), WhenError> {
    let (spec, zone) = split_zone(text, zones);
    let wanted = spec.text.to_ascii_lowercase();
    if let Some((_, long)) = SHORTHANDS.iter().find(|(name, _)| *name == wanted) {
        return Ok((parse_spec(Part::whole(long), zones)?, zone));
    }
    if spec.text.is_empty() {
        return Err(WhenError::expected(
            text,
            "a crontab line, an OnCalendar expression, `every(…)` or `at(…)`",
        ));
    }
    let calendar = parse_spec(spec, zones)?;
    if !calendar.names_any() {
        return Err(WhenError::at(spec, "no such date exists").hint("this expression would never fire"));
    }
    Ok((calendar, zone))
}

/// Cuts the zone off: the last word, if it is the name of one.
fn split_zone<'t>(text: Part<'t>, zones: &TimeZoneDatabase) -> (Part<'t>, Option<TimeZone>) {
    let Some(space) = text.text.rfind(' ') else {
        return (text, None);
    };
    let name = &text.text[space + 1..];
    // A name has letters; no lookup for what is a time or a date.
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || weekday(name).is_some() {
        return (text, None);
    }
    let zone = if name.eq_ignore_ascii_case("UTC") { Some(TimeZone::UTC) } else { zones.get(name).ok() };
    match zone {
        Some(zone) => (text.slice(0, space).trim(), Some(zone)),
        None => (text, None),
    }
}

fn parse_spec(spec: Part<'_>, zones: &TimeZoneDatabase) -> Result<Calendar, WhenError> {
    let mut calendar = Calendar::midnight();
    let mut words = spec.words().peekable();
    if words.peek().is_some_and(|word| word.text.starts_with(|c: char| c.is_alphabetic())) {
        let word = words.next().expect("the word was just seen");
        calendar.weekdays = parse_weekdays(word.in_field("weekday"), spec)?;
    }
    let first = words.next();
    let (date, time) = match first {
        Some(word) if word.text.contains(':') => (None, Some(word)),
        _ => (first, words.next()),
    };
    if let Some(date) = date {
        parse_date(date, &mut calendar)?;
    }
    if let Some(time) = time {
        parse_time(time, &mut calendar)?;
    }
    match words.next() {
        Some(extra) => Err(unknown_ending(extra, zones)),
        None => Ok(calendar),
    }
}

fn unknown_ending(extra: Part<'_>, zones: &TimeZoneDatabase) -> WhenError {
    let error = WhenError::expected(
        extra.in_field("time zone"),
        "a time zone such as Europe/Berlin or UTC, or the end",
    );
    let names: Vec<_> = zones.available().map(|name| name.as_str().to_owned()).collect();
    match hob_model::names::nearest(extra.text, names.iter().map(String::as_str)) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

/// The number of a weekday, Sunday being 0, by its name or the first three letters of it.
fn weekday(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    WEEKDAY_NAMES.iter().position(|day| *day == name || day[..3] == name)
}

fn parse_weekdays(text: Part<'_>, spec: Part<'_>) -> Result<u8, WhenError> {
    let day = |part: Part<'_>| {
        weekday(part.text).ok_or_else(|| {
            let names = WEEKDAY_NAMES.into_iter().chain(SHORTHANDS.map(|(name, _)| name));
            let error =
                WhenError::expected(part, "a weekday (Mon or Monday), a date or a shorthand such as `daily`");
            match hob_model::names::nearest(part.text, names) {
                Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
                None => error,
            }
        })
    };
    // One comma at the end is allowed: `Wed, 17:48`.
    let list = text.text.strip_suffix(',').map_or(text, |list| text.slice(0, list.len()));
    let mut set = 0;
    for element in list.split(',') {
        // Older expressions have `Mon-Fri`.
        let Some((first, last)) = element.split_once("..").or_else(|| element.split_once("-")) else {
            set |= 1 << day(element)?;
            continue;
        };
        // The week of systemd begins on Monday.
        let (from, to) = ((day(first)? + 6) % 7, (day(last)? + 6) % 7);
        if from > to {
            return Err(WhenError::at(element, format!("the range `{}` goes backwards", element.text))
                .hint(format!("the week begins on Monday: write `{}..Sun,Mon..{}`", first.text, last.text)));
        }
        set |= (from..=to).fold(0, |set, n| set | 1 << ((n + 1) % 7));
    }
    debug_assert!(set != 0 && set <= WEEKDAYS, "{}", spec.text);
    Ok(set)
}

fn parse_date(text: Part<'_>, calendar: &mut Calendar) -> Result<(), WhenError> {
    let bounds: Vec<usize> = text.text.match_indices(['-', '~']).map(|(at, _)| at).collect();
    let last = *bounds
        .last()
        .ok_or_else(|| WhenError::expected(text, "a date such as `*-*-01` or a time such as `04:30`"))?;
    let from_end = text.text[last..].starts_with('~');
    let (year, month) = match bounds[..] {
        [at] => (None, text.slice(0, at)),
        [first, second] if text.text[first..].starts_with('-') => {
            (Some(text.slice(0, first)), text.slice(first + 1, second))
        }
        _ => {
            return Err(WhenError::expected(
                text,
                "a date: `YEAR-MONTH-DAY`, `MONTH-DAY` or, from the end of the month, `MONTH~DAY`",
            ));
        }
    };
    let day = text.slice(last + 1, text.text.len());
    if let Some(Values::Of(elements)) = year.map(|year| YEAR.parse(year)).transpose()? {
        calendar.years = Years::of(elements.iter().flat_map(|element| element.values(YEAR.last)));
    }
    if let Values::Of(elements) = MONTH.parse(month)? {
        calendar.months = narrow(set_of(&elements, MONTH.last));
    }
    if from_end {
        if let Values::Of(elements) = DAY_FROM_END.parse(day)? {
            calendar.days = Days::FromEnd(narrow(days_from_end(&elements)));
        }
    } else if let Values::Of(elements) = DAY.parse(day)? {
        calendar.days = Days::OfMonth(narrow(set_of(&elements, DAY.last)));
    }
    Ok(())
}

fn parse_time(text: Part<'_>, calendar: &mut Calendar) -> Result<(), WhenError> {
    let parts: Vec<_> = text.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, None),
        [hour, minute, second] => (hour, minute, Some(second)),
        _ => {
            return Err(WhenError::expected(text, "a time: `HOUR:MINUTE` or `HOUR:MINUTE:SECOND`"));
        }
    };
    let (hours, minutes) = (HOUR.parse(hour)?, MINUTE.parse(minute)?);
    let seconds = second.map(|second| SECOND.parse(second)).transpose()?;
    calendar.follows_clock = hours.follows_clock(HOUR.first)
        || minutes.follows_clock(MINUTE.first)
        || seconds.as_ref().is_some_and(|seconds| seconds.follows_clock(SECOND.first));
    calendar.hours = match &hours {
        Values::Any => HOURS,
        Values::Of(elements) => narrow(set_of(elements, HOUR.last)),
    };
    calendar.minutes = match &minutes {
        Values::Any => SIXTY,
        Values::Of(elements) => set_of(elements, MINUTE.last),
    };
    calendar.seconds = match &seconds {
        None => Seconds::Whole(1),
        Some(Values::Any) => Seconds::Whole(SIXTY),
        Some(Values::Of(elements)) => seconds_of(elements),
    };
    Ok(())
}
