//! "When": the one parser from text to times.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use hob_model::Value;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::calendar::Calendar;
use crate::error::{Part, WhenError};
use crate::local_time::{LocalTime, Mapping};
use crate::{crontab, oncalendar};

/// How long the text of a "when" may be.
pub const WHEN_CHARS_MAX: usize = 4096;
/// How many items a list may have.
pub const WHEN_ITEMS_MAX: usize = 64;
/// The shortest interval of [`When::Every`]: below it, the slots of one schedule alone would keep the journal busy.
pub const EVERY_MILLIS_MIN: u64 = 100;

/// When something happens.
///
/// The text forms, which [`When::parse`] reads and [`fmt::Display`] writes:
///
/// | text | |
/// |---|---|
/// | `30 4 * * mon-fri` | a crontab line with five fields, or six with seconds in front |
/// | `@daily` | a nickname of one |
/// | `Mon..Fri *-*-* 04:30:00 Europe/Berlin` | a systemd `OnCalendar` expression |
/// | `every("5m")`, `every("1h", "10m")` | the multiples of an interval since the epoch, moved by a phase |
/// | `at("2027-01-01T00:00:00")` | once; with an offset, whatever the zone |
/// | `["@daily", every("5m")]` | any of these |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// A crontab line or an `OnCalendar` expression.
    Calendar(Line),
    /// The multiples of an interval since the epoch.
    Every(Every),
    /// Once.
    At(Moment),
    /// Whenever one of them says so.
    AnyOf(Vec<When>),
}

/// A crontab line or an `OnCalendar` expression, with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    text: Box<str>,
    calendar: Calendar,
    zone: Option<TimeZone>,
}

/// What it says follows from its text.
impl Hash for Line {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// An interval, in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Every {
    period: Duration,
    phase: Duration,
}

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The same everywhere.
    Instant(Timestamp),
    /// In the zone of the schedule.
    Local(DateTime),
}

impl When {
    /// Reads any of the text forms. Zones that an expression names are looked up in `zones`.
    ///
    /// ```
    /// use hob_scheduler::When;
    /// let zones = jiff::tz::TimeZoneDatabase::bundled();
    /// let error = When::parse("0 25 * * *", &zones).unwrap_err();
    /// assert_eq!(error.to_string(), "column 3 (hour): found `25`, expected 0-23");
    /// ```
    ///
    /// # Errors
    /// When the text is none of the forms, or names no time that ever comes.
    pub fn parse(text: &str, zones: &TimeZoneDatabase) -> Result<Self, WhenError> {
        let part = Part::whole(text);
        if part.chars() > WHEN_CHARS_MAX {
            return Err(WhenError::at(
                Part { text: "", ..part },
                format!("longer than {WHEN_CHARS_MAX} characters"),
            ));
        }
        if let Some(at) = text.find(|c: char| c.is_control() && c != '\t') {
            let control = part.slice(at, at + text[at..].chars().next().map_or(1, char::len_utf8));
            return Err(WhenError::at(control, "a line break or control character"));
        }
        let part = part.trim();
        if part.text.starts_with('[') {
            return parse_list(part, zones);
        }
        parse_item(part, zones)
    }

    /// Whether it names times without an end, as far as anybody can tell: one-off times do not.
    #[must_use]
    pub fn recurs(&self) -> bool {
        match self {
            Self::Calendar(_) | Self::Every(_) => true,
            Self::At(_) => false,
            Self::AnyOf(items) => items.iter().any(Self::recurs),
        }
    }

    /// Reads what a script gave: a text, or an array of texts.
    ///
    /// # Errors
    /// As [`When::parse`]; also for other types, and empty or too long arrays.
    pub fn from_value(value: &Value, zones: &TimeZoneDatabase) -> Result<Self, WhenError> {
        let wrong = |what: String| WhenError::at(Part::whole(""), what);
        match value {
            Value::String(text) => Self::parse(text, zones),
            Value::Array(items) => {
                check_count(items.len(), Part::whole(""))?;
                let item = |(at, item): (usize, &Value)| {
                    let Some(text) = item.as_str() else {
                        return Err(wrong(format!(
                            "item {}: expected a text, found {}",
                            at + 1,
                            item.type_name()
                        )));
                    };
                    match Self::parse(text, zones) {
                        Ok(Self::AnyOf(_)) => Err(wrong(format!("item {}: a list within a list", at + 1))),
                        Ok(when) => Ok(when),
                        Err(error) => {
                            Err(WhenError { message: format!("item {}: {}", at + 1, error.message), ..error })
                        }
                    }
                };
                items.iter().enumerate().map(item).collect::<Result<_, _>>().map(Self::AnyOf)
            }
            other => Err(wrong(format!("expected a text or an array of texts, found {}", other.type_name()))),
        }
    }

    /// The first instant after `after`, or `None` where no further one comes within 400 years.
    #[must_use]
    pub fn next(&self, after: Timestamp, rules: &LocalTime) -> Option<Timestamp> {
        match self {
            Self::Calendar(line) => {
                let zone = line.zone.as_ref().unwrap_or(&rules.zone);
                Mapping::of(rules, zone, line.calendar.follows_clock())
                    .next(|from| line.calendar.first_from(from), after)
            }
            Self::Every(every) => every.next(after),
            Self::At(Moment::Instant(instant)) => (*instant > after).then_some(*instant),
            Self::At(Moment::Local(time)) => {
                Mapping::of(rules, &rules.zone, false).next(|from| (*time >= from).then_some(*time), after)
            }
            Self::AnyOf(items) => items.iter().filter_map(|item| item.next(after, rules)).min(),
        }
    }

    /// All instants after `after`, in order.
    pub fn fires(&self, after: Timestamp, rules: &LocalTime) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next(after, rules), |last| self.next(*last, rules))
    }
}

impl Line {
    /// The text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The civil times that it names.
    #[must_use]
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// The zone that it names itself, which goes before that of the schedule.
    #[must_use]
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }
}

impl Every {
    /// The multiples of `period` since the epoch, moved by `phase`; `None` where the period is shorter than
    /// [`EVERY_MILLIS_MIN`] or the phase is not shorter than the period.
    #[must_use]
    pub fn new(period: Duration, phase: Duration) -> Option<Self> {
        let fits = period.as_millis() >= u128::from(EVERY_MILLIS_MIN)
            && phase < period
            && period.as_secs() <= hob_model::duration::DURATION_DAYS_MAX * 86_400
            && period.subsec_nanos().is_multiple_of(1_000)
            && phase.subsec_nanos().is_multiple_of(1_000);
        fits.then_some(Self { period, phase })
    }

    fn next(self, after: Timestamp) -> Option<Timestamp> {
        let micros = |duration: Duration| i128::try_from(duration.as_micros()).ok();
        let (period, phase) = (micros(self.period)?, micros(self.phase)?);
        let after = after.as_nanosecond().div_euclid(1_000);
        let next = ((after - phase).div_euclid(period) + 1) * period + phase;
        Timestamp::from_microsecond(i64::try_from(next).ok()?).ok()
    }
}

fn parse_item(part: Part<'_>, zones: &TimeZoneDatabase) -> Result<When, WhenError> {
    if let Some(arguments) = arguments_of("every", part) {
        return parse_every(arguments?);
    }
    if let Some(arguments) = arguments_of("at", part) {
        return parse_at(arguments?);
    }
    let line =
        |(calendar, zone)| When::Calendar(Line { text: normal_spaces(part.text).into(), calendar, zone });
    if let Some(rest) = part.text.strip_prefix('@') {
        return match rest.starts_with(|c: char| c.is_ascii_digit()) {
            true => parse_epoch_seconds(part),
            false => crontab::parse_nickname(part).map(|calendar| line((calendar, None))),
        };
    }
    let words: Vec<_> = part.words().collect();
    if let Some(assignment) = words.first().filter(|word| word.text.contains('=')) {
        return Err(WhenError::at(*assignment, "a crontab line here has no assignments")
            .hint("name the zone with the option `timezone`"));
    }
    if words.len() >= 5 {
        return crontab::parse_line(part).map(|calendar| line((calendar, None)));
    }
    let parsed = oncalendar::parse(part, zones);
    let of_cron = |word: &Part<'_>| word.text.bytes().all(|b| b.is_ascii_digit() || b"*,/-".contains(&b));
    if parsed.is_err() && words.len() > 1 && words.iter().all(of_cron) {
        // `0 4 * *`: too short for cron and nothing of systemd's.
        return crontab::parse_line(part).map(|calendar| line((calendar, None)));
    }
    parsed.map(line)
}

/// What stands between the parentheses of `name(…)`.
fn arguments_of<'t>(name: &str, part: Part<'t>) -> Option<Result<Part<'t>, WhenError>> {
    let rest = part.text.strip_prefix(name)?.trim_start();
    let inner = rest.strip_prefix('(')?;
    let from = part.text.len() - inner.len();
    Some(match inner.strip_suffix(')') {
        Some(inner) => Ok(part.slice(from, from + inner.len()).trim()),
        None => Err(WhenError::at(
            part.slice(part.text.len(), part.text.len()),
            "a closing parenthesis is missing",
        )),
    })
}

/// An argument with or without quotes.
fn unquoted(part: Part<'_>) -> Part<'_> {
    let part = part.trim();
    let quoted =
        |quote: char| part.text.len() >= 2 && part.text.starts_with(quote) && part.text.ends_with(quote);
    if quoted('"') || quoted('\'') { part.slice(1, part.text.len() - 1) } else { part }
}

fn parse_every(arguments: Part<'_>) -> Result<When, WhenError> {
    let duration = |part: Part<'_>| {
        let part = unquoted(part);
        let parsed = hob_model::duration::parse(part.text);
        parsed.map_err(|error| WhenError::at(part.in_field("interval"), error.to_string()))
    };
    let (period, phase) = match arguments.split_once(",") {
        Some((period, phase)) => (duration(period)?, duration(phase)?),
        None => (duration(arguments)?, Duration::ZERO),
    };
    Every::new(period, phase).map(When::Every).ok_or_else(|| {
        let found = arguments.in_field("interval");
        WhenError::expected(
            found,
            format_args!("an interval of at least {EVERY_MILLIS_MIN}ms, and a phase below it"),
        )
    })
}

fn parse_at(arguments: Part<'_>) -> Result<When, WhenError> {
    let part = unquoted(arguments).in_field("time");
    if let Ok(instant) = part.text.parse::<Timestamp>() {
        return whole_micros(instant, part).map(|instant| When::At(Moment::Instant(instant)));
    }
    let time = part.text.parse::<DateTime>();
    let time = time.or_else(|_| part.text.parse::<Date>().map(|date| date.to_datetime(Time::midnight())));
    let Ok(time) = time else {
        return Err(WhenError::expected(
            part,
            "a time such as 2027-01-01T00:00:00, or with an offset, 2027-01-01T00:00:00+01:00",
        ));
    };
    if time.subsec_nanosecond() % 1_000 != 0 {
        return Err(finer_than_micros(part));
    }
    Ok(When::At(Moment::Local(time)))
}

fn whole_micros(instant: Timestamp, part: Part<'_>) -> Result<Timestamp, WhenError> {
    if instant.subsec_nanosecond() % 1_000 == 0 { Ok(instant) } else { Err(finer_than_micros(part)) }
}

fn finer_than_micros(part: Part<'_>) -> WhenError {
    WhenError::expected(part, "at most six decimals")
}

/// systemd's `@SECONDS`.
fn parse_epoch_seconds(part: Part<'_>) -> Result<When, WhenError> {
    let digits = part.text[1..].strip_suffix(" UTC").unwrap_or(&part.text[1..]);
    let instant = digits.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    instant
        .map(|instant| When::At(Moment::Instant(instant)))
        .ok_or_else(|| WhenError::expected(part, "`@` and the seconds since 1970, up to the year 9999"))
}

fn check_count(count: usize, part: Part<'_>) -> Result<(), WhenError> {
    match count {
        0 => Err(WhenError::at(part, "the list is empty")),
        _ if count > WHEN_ITEMS_MAX => {
            Err(WhenError::at(part, format!("the list has more than {WHEN_ITEMS_MAX} items")))
        }
        _ => Ok(()),
    }
}

fn parse_list(part: Part<'_>, zones: &TimeZoneDatabase) -> Result<When, WhenError> {
    if !part.text.ends_with(']') || part.text.len() < 2 {
        return Err(WhenError::at(
            part.slice(part.text.len(), part.text.len()),
            "a closing bracket is missing",
        ));
    }
    let inner = part.slice(1, part.text.len() - 1).trim();
    let items = if inner.text.is_empty() { Vec::new() } else { split_list(inner) };
    check_count(items.len(), part)?;
    let item = |item: Part<'_>| {
        let item = item.trim();
        let is_call = arguments_of("every", item).or_else(|| arguments_of("at", item)).is_some();
        if !is_call && unquoted(item).text.len() == item.text.len() {
            return Err(WhenError::expected(item, "a text in quotes, `every(…)` or `at(…)`"));
        }
        parse_item(unquoted(item).trim(), zones)
    };
    items.into_iter().map(item).collect::<Result<_, _>>().map(When::AnyOf)
}

/// Splits at the commas that stand neither in quotes nor in parentheses.
fn split_list(part: Part<'_>) -> Vec<Part<'_>> {
    let (mut items, mut from, mut quote, mut depth) = (Vec::new(), 0, None, 0_usize);
    for (at, c) in part.text.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                items.push(part.slice(from, at));
                from = at + 1;
            }
            _ => {}
        }
    }
    items.push(part.slice(from, part.text.len()));
    items
}

fn normal_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calendar(line) => f.write_str(&line.text),
            Self::Every(every) => {
                write!(f, "every(\"{}\"", hob_model::duration::format(every.period))?;
                if !every.phase.is_zero() {
                    write!(f, ", \"{}\"", hob_model::duration::format(every.phase))?;
                }
                f.write_str(")")
            }
            Self::At(Moment::Instant(instant)) => write!(f, "at(\"{instant}\")"),
            Self::At(Moment::Local(time)) => write!(f, "at(\"{time}\")"),
            Self::AnyOf(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    let separator = if at == 0 { "" } else { ", " };
                    match item {
                        Self::Calendar(line) => write!(f, "{separator}\"{}\"", line.text)?,
                        other => write!(f, "{separator}{other}")?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}
