//! The primitive `time`: instants and the calendar.

mod calendar;
mod instant;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// Needs no adapter: the only time that is looked at is the clock of the run.
pub fn install(_: &mut Ports) {}

/// Instants and the calendar.
///
/// An instant is a text in RFC 3339: `"2026-01-02T03:04:05Z"`, in UTC unless a time zone is asked for. A length of
/// time is a text such as `"90s"` or `"1h30m"`, where a day has 24 hours; `time::shift` counts calendar days.
/// Time zones are names of the IANA database such as `"Europe/Berlin"`.
#[primitive(name = "time")]
mod api {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Ctx, Options};

    use crate::calendar::{self, CalendarUnit, ShiftOptions};
    use crate::instant::{Instant, plain, with_offset, zone};

    /// In which time zone.
    #[derive(Options)]
    pub(crate) struct ZoneOptions {
        /// A name such as `"Europe/Berlin"`; UTC when left out.
        timezone: Option<String>,
    }

    /// How to read a time.
    #[derive(Options)]
    pub(crate) struct ParseOptions {
        /// The pattern of the text, as for `time::format`; RFC 3339 when left out.
        format: Option<String>,
        /// The time zone of a text that has no offset.
        timezone: Option<String>,
    }

    /// The unit of a count.
    #[derive(Clone, Copy, Choice)]
    pub(crate) enum CountUnit {
        /// Seconds.
        S,
        /// Milliseconds.
        Ms,
        /// Microseconds.
        Us,
    }

    impl CountUnit {
        fn micros(self) -> i64 {
            match self {
                Self::S => 1_000_000,
                Self::Ms => 1_000,
                Self::Us => 1,
            }
        }
    }

    /// What is counted since 1970.
    #[derive(Options)]
    pub(crate) struct CountOptions {
        /// Seconds, milliseconds or microseconds.
        #[option(default = "CountUnit::S")]
        unit: CountUnit,
    }

    /// Gives the time, to the microsecond.
    ///
    /// Class `observe`: it looks at the clock once; a run that is replayed sees the time that it saw then.
    ///
    /// Fails with `invalid` when the time zone is unknown.
    ///
    /// ```rhai
    /// let now = time::now();
    /// now.ends_with("Z") && time::parse(now) == now
    /// ```
    #[operation(observe, returns = "string")]
    fn now(cx: &Ctx, options: ZoneOptions) -> Result<String, OpError> {
        match options.timezone {
            None => Ok(plain(cx.now())),
            Some(name) => Ok(with_offset(&cx.now().to_zoned(zone(&name)?))),
        }
    }

    /// Reads a time and gives it in RFC 3339 and UTC.
    ///
    /// Class `pure`. `format` is a pattern of `strptime`; a text without an offset needs `timezone`. A local time
    /// that the zone skips is moved past the gap, one that it has twice is the first.
    ///
    /// Fails with `invalid` when the text does not fit.
    ///
    /// ```rhai
    /// time::parse("2026-07-01T12:00:00+02:00") == "2026-07-01T10:00:00Z"
    /// ```
    ///
    /// ```rhai
    /// time::parse("1.7.2026 12:00", #{ format: "%d.%m.%Y %H:%M", timezone: "Europe/Berlin" }) == "2026-07-01T10:00:00Z"
    /// ```
    #[operation(pure, returns = "string")]
    fn parse(text: String, options: ParseOptions) -> Result<String, OpError> {
        let zone = options.timezone.as_deref().map(zone).transpose()?;
        calendar::parse(&text, options.format.as_deref(), zone).map(plain)
    }

    /// Writes a time by a pattern of `strftime`, such as `%d.%m.%Y %H:%M`.
    ///
    /// Class `pure`.
    ///
    /// Fails with `invalid` when the pattern has an unknown part.
    ///
    /// ```rhai
    /// time::format("2026-07-01T22:30:00Z", "%d.%m.%Y %H:%M", #{ timezone: "Europe/Berlin" }) == "02.07.2026 00:30"
    /// ```
    #[operation(pure, returns = "string")]
    fn format(time: Instant, pattern: String, options: ZoneOptions) -> Result<String, OpError> {
        calendar::format(&time.zoned(options.timezone.as_deref())?, &pattern)
    }

    /// Gives the time that is a duration later.
    ///
    /// Class `pure`. A day has 24 hours here; `time::shift` follows the calendar.
    ///
    /// ```rhai
    /// time::add("2026-01-02T03:04:05Z", "1h30m") == "2026-01-02T04:34:05Z"
    /// ```
    #[operation(pure, returns = "string")]
    fn add(time: Instant, duration: Duration) -> Result<String, OpError> {
        time.0.checked_add(duration).map(plain).map_err(|_| past_the_calendar())
    }

    /// Gives the time that is a duration earlier.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// time::sub("2026-01-02T03:04:05Z", "1d") == "2026-01-01T03:04:05Z"
    /// ```
    #[operation(pure, returns = "string")]
    fn sub(time: Instant, duration: Duration) -> Result<String, OpError> {
        time.0.checked_sub(duration).map(plain).map_err(|_| past_the_calendar())
    }

    /// Moves a time by years, months, weeks, days, hours, minutes and seconds of the calendar; each may be negative.
    ///
    /// Class `pure`. With a time zone, a day later is the same time of day, also across a clock change; a month after
    /// 31 January is the last day of February. The answer has the offset of the zone.
    ///
    /// ```rhai
    /// time::shift("2026-03-28T12:00:00+01:00", #{ days: 1, timezone: "Europe/Berlin" }) == "2026-03-29T12:00:00+02:00"
    /// ```
    #[operation(pure, returns = "string")]
    fn shift(time: Instant, options: ShiftOptions) -> Result<String, OpError> {
        let zoned = time.zoned(options.timezone.as_deref())?;
        let moved = zoned.checked_add(options.span()?).map_err(|_| past_the_calendar())?;
        Ok(if options.timezone.is_some() { with_offset(&moved) } else { plain(moved.timestamp()) })
    }

    /// Gives how long it is from one time to another: `#{ seconds, duration }`.
    ///
    /// Class `pure`. `seconds` is a float and negative when the second time is earlier; `duration` is a text without
    /// a sign.
    ///
    /// ```rhai
    /// let d = time::diff("2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z");
    /// d.seconds == 5400.0 && d.duration == "1h30m"
    /// ```
    #[operation(pure, returns = "map")]
    fn diff(from: Instant, to: Instant) -> Result<Value, OpError> {
        let between = from.0.duration_until(to.0);
        Ok(Value::map([
            ("seconds", Value::Float(between.as_secs_f64())),
            ("duration", hob_model::duration::format(between.unsigned_abs()).into()),
        ]))
    }

    /// Whether the first time is earlier than the second.
    ///
    /// Class `pure`. Comparing the texts with `<` goes wrong when their offsets or fractions differ.
    ///
    /// ```rhai
    /// time::before("2026-01-01T12:00:00+02:00", "2026-01-01T11:00:00Z")
    /// ```
    #[operation(pure, returns = "bool")]
    fn before(first: Instant, second: Instant) -> Result<bool, OpError> {
        Ok(first.0 < second.0)
    }

    /// Gives the whole seconds (or `unit`) since 1970, rounded down.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// time::unix("1970-01-02T00:00:00.5Z") == 86400 && time::unix("1970-01-01T00:00:01Z", #{ unit: "ms" }) == 1000
    /// ```
    #[operation(pure, returns = "int")]
    fn unix(time: Instant, options: CountOptions) -> Result<i64, OpError> {
        Ok(time.0.as_microsecond().div_euclid(options.unit.micros()))
    }

    /// Gives the time that is so many seconds (or `unit`) after 1970; a float may have a fraction.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// time::from_unix(86400) == "1970-01-02T00:00:00Z" && time::from_unix(1500, #{ unit: "ms" }) == "1970-01-01T00:00:01.5Z"
    /// ```
    #[operation(pure, returns = "string")]
    fn from_unix(count: Value, options: CountOptions) -> Result<String, OpError> {
        let scale = options.unit.micros();
        let micros = match count {
            Value::Int(count) => count.checked_mul(scale),
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            Value::Float(count) if count.is_finite() => Some((count * scale as f64).round() as i64),
            other => {
                return Err(OpError::invalid(format!("expected a number, got {}", other.type_name())));
            }
        };
        let instant = micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        instant.map(plain).ok_or_else(past_the_calendar)
    }

    /// Gives the day of the week: `"monday"` to `"sunday"`.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// time::weekday("2026-01-01T23:30:00Z") == "thursday" && time::weekday("2026-01-01T23:30:00Z", #{ timezone: "Europe/Berlin" }) == "friday"
    /// ```
    #[operation(pure, returns = "string")]
    fn weekday(time: Instant, options: ZoneOptions) -> Result<&'static str, OpError> {
        Ok(calendar::weekday(time.zoned(options.timezone.as_deref())?.weekday()))
    }

    /// Gives the parts of a time: `year month day hour minute second microsecond weekday day_of_year week offset`.
    ///
    /// Class `pure`. `week` is the week of ISO 8601; `offset` is what is added to UTC, in seconds.
    ///
    /// ```rhai
    /// let parts = time::parts("2026-07-01T10:00:00Z", #{ timezone: "Europe/Berlin" });
    /// parts.hour == 12 && parts.day_of_year == 182 && parts.week == 27 && parts.offset == 7200
    /// ```
    #[operation(pure, returns = "map")]
    fn parts(time: Instant, options: ZoneOptions) -> Result<Value, OpError> {
        Ok(calendar::parts(&time.zoned(options.timezone.as_deref())?))
    }

    /// Gives the start of the year, month, week (Monday), day, hour or minute that a time lies in.
    ///
    /// Class `pure`. The answer has the offset of the zone when one is given.
    ///
    /// ```rhai
    /// time::start_of("2026-07-01T12:34:56Z", "day") == "2026-07-01T00:00:00Z"
    /// ```
    ///
    /// ```rhai
    /// time::start_of("2026-07-01T12:34:56Z", "month", #{ timezone: "Europe/Berlin" }) == "2026-07-01T00:00:00+02:00"
    /// ```
    #[operation(pure, returns = "string")]
    fn start_of(time: Instant, unit: CalendarUnit, options: ZoneOptions) -> Result<String, OpError> {
        let start = calendar::start_of(&time.zoned(options.timezone.as_deref())?, unit)
            .map_err(|_| past_the_calendar())?;
        Ok(if options.timezone.is_some() { with_offset(&start) } else { plain(start.timestamp()) })
    }

    fn past_the_calendar() -> OpError {
        OpError::invalid("the time would lie outside of the years -9999 to 9999")
    }
}
