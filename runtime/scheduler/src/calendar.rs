//! Which civil times a calendar names, without any time zone.
//!
//! A crontab line and an `OnCalendar` expression both end up here, as sets of numbers per field.
//! The search goes from field to field and never from minute to minute: a month costs one mask.

use jiff::civil::{Date, DateTime, Time};

/// How many years a search looks ahead. The Gregorian calendar repeats after 400 years, weekdays
/// included: what does not occur within them never does.
pub const SEARCH_YEARS_MAX: i16 = 400;

/// The years that an expression can name, as systemd has them.
pub(crate) const YEAR_FIRST: i16 = 1970;
pub(crate) const YEAR_LAST: i16 = 2199;

pub(crate) const MICROS_PER_SECOND: u32 = 1_000_000;
const MICROS_PER_MINUTE: u32 = 60 * MICROS_PER_SECOND;

/// All minutes or seconds, as a set.
pub(crate) const SIXTY: u64 = (1 << 60) - 1;
/// All hours, as a set.
pub(crate) const HOURS: u32 = (1 << 24) - 1;
/// All days of a month, as a set; bit 0 stays empty.
pub(crate) const DAYS: u32 = u32::MAX - 1;
/// All months, as a set; bit 0 stays empty.
pub(crate) const MONTHS: u16 = (1 << 13) - 2;
/// All weekdays, as a set; bit 0 is Sunday.
pub(crate) const WEEKDAYS: u8 = (1 << 7) - 1;

/// The set of a field, no wider than that needs: there may be 100,000 calendars.
pub(crate) fn narrow<T: TryFrom<u64>>(set: u64) -> T {
    T::try_from(set).ok().expect("whoever reads a field lets no value pass that is beyond it")
}

/// A set of civil times, to the microsecond.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    pub(crate) years: Years,
    pub(crate) months: u16,
    pub(crate) days: Days,
    pub(crate) weekdays: u8,
    pub(crate) day_rule: DayRule,
    pub(crate) hours: u32,
    pub(crate) minutes: u64,
    pub(crate) seconds: Seconds,
    /// Whether the second, minute or hour field is `*` or `*/n`: such a line follows the wall clock
    /// that exists instead of naming fixed times.
    pub(crate) follows_clock: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Years {
    Any,
    /// Bit n is the year [`YEAR_FIRST`] + n.
    Of(Box<[u64; 4]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Days {
    /// Bit n is the n-th day of the month.
    OfMonth(u32),
    /// Bit n is the n-th last day of the month.
    FromEnd(u32),
}

/// How the day of the month and the weekday go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DayRule {
    /// Both must match.
    Both,
    /// One of them must: what cron does when neither field begins with `*`.
    Either,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Seconds {
    Whole(u64),
    /// Parts of seconds, in microseconds of the minute; never empty.
    Fine(Box<[Repetition]>),
}

/// `start`, `start + step`, … up to `stop`, all in microseconds of a minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repetition {
    pub(crate) start: u32,
    pub(crate) stop: u32,
    /// At least 1.
    pub(crate) step: u32,
}

impl Calendar {
    /// Every midnight: what the parsers start from.
    pub(crate) fn midnight() -> Self {
        Self {
            years: Years::Any,
            months: MONTHS,
            days: Days::OfMonth(DAYS),
            weekdays: WEEKDAYS,
            day_rule: DayRule::Both,
            hours: 1,
            minutes: 1,
            seconds: Seconds::Whole(1),
            follows_clock: false,
        }
    }

    /// Whether the second, minute or hour field is `*` or `*/n`: such a line follows the wall clock that
    /// exists, in both passes of an hour that exists twice, instead of naming fixed times.
    #[must_use]
    pub fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// The first named time at or after `from`, or `None` where none follows within
    /// [`SEARCH_YEARS_MAX`] years.
    #[must_use]
    pub fn first_from(&self, from: DateTime) -> Option<DateTime> {
        let from = ceil_to_micros(from)?;
        if self.names_day(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let date = self.date_from(from.date().tomorrow().ok()?)?;
        Some(date.to_datetime(self.time_from(Time::midnight())?))
    }

    /// Whether this calendar names `time`.
    #[must_use]
    pub fn names(&self, time: DateTime) -> bool {
        self.first_from(time) == Some(time)
    }

    /// Whether it names any time at all.
    pub(crate) fn names_any(&self) -> bool {
        self.first_from(Date::constant(YEAR_FIRST, 1, 1).to_datetime(Time::midnight())).is_some()
    }

    fn names_day(&self, date: Date) -> bool {
        self.years.contains(date.year())
            && contains(u64::from(self.months), unsigned(date.month()))
            && contains(self.days_of(date.year(), date.month()), unsigned(date.day()))
    }

    fn date_from(&self, from: Date) -> Option<Date> {
        let mut first_month = unsigned(from.month());
        let mut first_day = unsigned(from.day());
        for year in from.year()..=from.year().saturating_add(SEARCH_YEARS_MAX).min(Date::MAX.year()) {
            if self.years.contains(year) {
                while let Some(month) = first_at(u64::from(self.months), first_month) {
                    let month_number = signed(month);
                    let after = if month == first_month { first_day } else { 1 };
                    if let Some(day) = first_at(self.days_of(year, month_number), after) {
                        return Date::new(year, month_number, signed(day)).ok();
                    }
                    (first_month, first_day) = (month + 1, 1);
                }
            }
            (first_month, first_day) = (1, 1);
        }
        None
    }

    /// The days of one month that are named, as a set.
    fn days_of(&self, year: i16, month: i8) -> u64 {
        let Ok(first) = Date::new(year, month, 1) else {
            return 0;
        };
        let len = unsigned(first.days_in_month());
        let exist = (2 << len) - 2;
        let days = match self.days {
            Days::OfMonth(days) => u64::from(days),
            // Bit n becomes bit len + 1 - n.
            Days::FromEnd(days) => u64::from(days).reverse_bits() >> (62 - len),
        };
        if self.weekdays == WEEKDAYS {
            // An unrestricted weekday field begins with `*` or names all seven; with `Either`, all days match.
            return exist & if self.day_rule == DayRule::Both { days } else { u64::from(DAYS) };
        }
        let first_weekday = first.weekday().to_sunday_zero_offset();
        let weekdays = u64::from(self.weekdays);
        let rotated = (weekdays | weekdays << 7) >> first_weekday & u64::from(WEEKDAYS);
        let of_weekday = (rotated | rotated << 7 | rotated << 14 | rotated << 21 | rotated << 28) << 1;
        exist
            & match self.day_rule {
                DayRule::Both => days & of_weekday,
                DayRule::Either => days | of_weekday,
            }
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (unsigned(from.hour()), unsigned(from.minute()));
        if contains(u64::from(self.hours), hour) {
            if contains(self.minutes, minute)
                && let Some(micros) = self.seconds.first_at(micros_of_minute(from))
            {
                return clock_time(hour, minute, micros);
            }
            if let Some(minute) = first_at(self.minutes, minute + 1) {
                return clock_time(hour, minute, self.seconds.first_at(0)?);
            }
        }
        let hour = first_at(u64::from(self.hours), hour + 1)?;
        clock_time(hour, first_at(self.minutes, 0)?, self.seconds.first_at(0)?)
    }
}

impl Years {
    fn contains(&self, year: i16) -> bool {
        match self {
            Self::Any => true,
            Self::Of(sets) => usize::try_from(year - YEAR_FIRST)
                .is_ok_and(|n| sets.get(n / 64).is_some_and(|set| set >> (n % 64) & 1 == 1)),
        }
    }

    /// A set of years, each within [`YEAR_FIRST`] and [`YEAR_LAST`].
    pub(crate) fn of(years: impl IntoIterator<Item = u32>) -> Self {
        let mut sets = [0; 4];
        for year in years {
            let n = (year - u32::from(YEAR_FIRST.unsigned_abs())) as usize;
            sets[n / 64] |= 1 << (n % 64);
        }
        Self::Of(Box::new(sets))
    }
}

impl Seconds {
    /// The first named microsecond of the minute at or after `micros`.
    fn first_at(&self, micros: u32) -> Option<u32> {
        match self {
            Self::Whole(set) => {
                first_at(*set, micros.div_ceil(MICROS_PER_SECOND)).map(|second| second * MICROS_PER_SECOND)
            }
            Self::Fine(repetitions) => {
                repetitions.iter().filter_map(|repetition| repetition.first_at(micros)).min()
            }
        }
    }
}

impl Repetition {
    fn first_at(&self, micros: u32) -> Option<u32> {
        let steps = micros.saturating_sub(self.start).div_ceil(self.step);
        let found = self.start.checked_add(steps.checked_mul(self.step)?)?;
        (found <= self.stop).then_some(found)
    }
}

/// Whether the set holds `n`.
fn contains(set: u64, n: u32) -> bool {
    n < u64::BITS && set >> n & 1 == 1
}

/// The first member at or after `n`.
fn first_at(set: u64, n: u32) -> Option<u32> {
    let rest = set.checked_shr(n)?;
    (rest != 0).then(|| n + rest.trailing_zeros())
}

fn unsigned(field: i8) -> u32 {
    u32::from(field.unsigned_abs())
}

fn signed(field: u32) -> i8 {
    i8::try_from(field).expect("a field of a date or time is below 64")
}

fn micros_of_minute(time: Time) -> u32 {
    unsigned(time.second()) * MICROS_PER_SECOND + time.subsec_nanosecond().unsigned_abs() / 1_000
}

fn clock_time(hour: u32, minute: u32, micros: u32) -> Option<Time> {
    debug_assert!(micros < MICROS_PER_MINUTE);
    let nanos = i32::try_from(micros % MICROS_PER_SECOND * 1_000).ok()?;
    Time::new(signed(hour), signed(minute), signed(micros / MICROS_PER_SECOND), nanos).ok()
}

/// The same time, or the next whole microsecond.
fn ceil_to_micros(time: DateTime) -> Option<DateTime> {
    match time.subsec_nanosecond() % 1_000 {
        0 => Some(time),
        rest => time.checked_add(jiff::Span::new().nanoseconds(1_000 - rest)).ok(),
    }
}
