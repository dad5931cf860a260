//! The number fields of `OnCalendar` expressions: `*`, lists, ranges `a..b`, repetitions `a/n` and `a..b/n`.

use crate::calendar::{MICROS_PER_SECOND, Repetition, Seconds, YEAR_FIRST, YEAR_LAST};
use crate::error::{Part, WhenError};

/// The longest distance from the end of a month that each month has.
const DAYS_FROM_END_MAX: u32 = 28;

/// What one number field may hold, in units of the field (microseconds for seconds).
pub(super) struct Field {
    name: &'static str,
    pub(super) first: u32,
    pub(super) last: u32,
    allowed: &'static str,
    example: &'static str,
}

pub(super) const YEAR: Field = Field {
    name: "year",
    first: YEAR_FIRST as u32,
    last: YEAR_LAST as u32,
    allowed: "1970-2199, or 0-99 for 1970-2069",
    example: "2026/2",
};
pub(super) const MONTH: Field = Field { name: "month", first: 1, last: 12, allowed: "1-12", example: "01/3" };
pub(super) const DAY: Field = Field { name: "day", first: 1, last: 31, allowed: "1-31", example: "01/2" };
pub(super) const DAY_FROM_END: Field = Field {
    name: "day from the end of the month",
    first: 1,
    last: DAYS_FROM_END_MAX,
    allowed: "1-28 (the days that each month has)",
    example: "07/1",
};
pub(super) const HOUR: Field = Field { name: "hour", first: 0, last: 23, allowed: "0-23", example: "00/2" };
pub(super) const MINUTE: Field =
    Field { name: "minute", first: 0, last: 59, allowed: "0-59", example: "00/15" };
pub(super) const SECOND: Field = Field {
    name: "second",
    first: 0,
    last: 60 * MICROS_PER_SECOND - 1,
    allowed: "0-59, with up to six decimals",
    example: "00/10",
};

/// One element of a field.
pub(super) struct Element {
    start: u32,
    /// The last value that may be named.
    stop: Option<u32>,
    step: Option<u32>,
}

/// What a field holds.
pub(super) enum Values {
    Any,
    Of(Vec<Element>),
}

impl Values {
    /// `*`, or `a/n` from the first value on, which is how this grammar writes cron's `*/n`.
    pub(super) fn follows_clock(&self, first: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Of(elements) => elements.first().is_some_and(|element| {
                element.start == first && element.stop.is_none() && element.step.is_some()
            }),
        }
    }
}

impl Element {
    /// The last value that may be named, `last` being the field's.
    fn last(&self, last: u32) -> u32 {
        match (self.stop, self.step) {
            (Some(stop), _) => stop,
            (None, Some(_)) => last,
            (None, None) => self.start,
        }
    }

    pub(super) fn values(&self, last: u32) -> impl Iterator<Item = u32> {
        (self.start..=self.last(last)).step_by(self.step.unwrap_or(1) as usize)
    }
}

impl Field {
    fn is_seconds(&self) -> bool {
        self.last > u32::from(u16::MAX)
    }

    pub(super) fn parse(&self, text: Part<'_>) -> Result<Values, WhenError> {
        let text = text.in_field(self.name);
        if text.text == "*" {
            return Ok(Values::Any);
        }
        if text.text.starts_with("*/") {
            return Err(WhenError::at(text, format!("`{}` is cron's form of a repetition", text.text))
                .hint(format!("name where it begins, as in `{}`", self.example)));
        }
        text.split(',').map(|element| self.element(element)).collect::<Result<_, _>>().map(Values::Of)
    }

    fn element(&self, text: Part<'_>) -> Result<Element, WhenError> {
        let (range, step) = match text.split_once("/") {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let Some((from, to)) = range.split_once("..") else {
            let start = self.value(range)?;
            let step = step.map(|step| self.open_step(step, start)).transpose()?;
            return Ok(Element { start, stop: None, step });
        };
        let (start, stop) = (self.value(from)?, self.value(to)?);
        if start > stop {
            return Err(WhenError::at(range, format!("the range `{}` goes backwards", range.text))
                .hint("write a list of two ranges if it is to wrap around"));
        }
        let unit = if self.is_seconds() { MICROS_PER_SECOND } else { 1 };
        let step = match step {
            // A step that is longer than its range names the start alone.
            Some(step) => self.step(step)?,
            None if start < stop && start + unit > stop => {
                return Err(WhenError::at(
                    range,
                    format!("the range `{}` is shorter than a second", range.text),
                ));
            }
            None => unit,
        };
        Ok(Element { start, stop: Some(stop), step: Some(step) })
    }

    fn value(&self, text: Part<'_>) -> Result<u32, WhenError> {
        let number = if self.is_seconds() { micros(text) } else { text.number() };
        let number = match number {
            Some(year) if self.name == YEAR.name && year < 70 => Some(year + 2000),
            Some(year) if self.name == YEAR.name && year < 100 => Some(year + 1900),
            other => other,
        };
        number
            .filter(|number| (self.first..=self.last).contains(number))
            .ok_or_else(|| WhenError::expected(text, self.allowed))
    }

    fn step(&self, text: Part<'_>) -> Result<u32, WhenError> {
        let number = if self.is_seconds() { micros(text) } else { text.number() };
        let unit = if self.is_seconds() { "a number of seconds" } else { "a whole number" };
        number
            .filter(|step| *step > 0)
            .ok_or_else(|| WhenError::expected(text, format_args!("{unit} above 0")))
    }

    /// The step of a repetition without end, which must come again within its field.
    fn open_step(&self, text: Part<'_>, start: u32) -> Result<u32, WhenError> {
        let step = self.step(text)?;
        let room = if self.last == DAYS_FROM_END_MAX { start - self.first } else { self.last - start };
        if step <= room {
            return Ok(step);
        }
        let message = format!("a repetition of `{}` comes only once within the field", text.text);
        Err(WhenError::at(text, message).hint("for intervals of any length write `every(\"90m\")`"))
    }
}

/// Seconds with decimals in microseconds, rounded.
fn micros(text: Part<'_>) -> Option<u32> {
    let Some((whole, decimals)) = text.split_once(".") else {
        return text.number()?.checked_mul(MICROS_PER_SECOND);
    };
    let digits = decimals.text.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| u32::from(digits.get(at).map_or(0, |digit| digit - b'0'));
    let fraction = (0..6).fold(0, |sum, at| sum * 10 + digit(at)) + u32::from(digit(6) >= 5);
    whole.number()?.checked_mul(MICROS_PER_SECOND)?.checked_add(fraction)
}

/// An open repetition counts down to the last day of the month; a closed one up from its start.
pub(super) fn days_from_end(elements: &[Element]) -> u64 {
    elements.iter().fold(0, |set, element| match (element.stop, element.step) {
        (None, Some(step)) => {
            (1..=element.start).rev().step_by(step as usize).fold(set, |set, n| set | 1 << n)
        }
        _ => set | set_of(std::slice::from_ref(element), DAYS_FROM_END_MAX),
    })
}

pub(super) fn seconds_of(elements: &[Element]) -> Seconds {
    let is_whole = |micros: u32| micros.is_multiple_of(MICROS_PER_SECOND);
    if elements.iter().all(|element| is_whole(element.start) && element.step.is_none_or(is_whole)) {
        let seconds = elements.iter().flat_map(|element| element.values(SECOND.last));
        return Seconds::Whole(seconds.fold(0, |set, micros| set | 1 << (micros / MICROS_PER_SECOND)));
    }
    let repetition = |element: &Element| Repetition {
        start: element.start,
        stop: element.last(SECOND.last),
        step: element.step.unwrap_or(1),
    };
    Seconds::Fine(elements.iter().map(repetition).collect())
}

pub(super) fn set_of(elements: &[Element], last: u32) -> u64 {
    elements.iter().flat_map(|element| element.values(last)).fold(0, |set, n| set | 1 << n)
}
