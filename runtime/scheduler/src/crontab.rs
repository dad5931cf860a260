//! Crontab lines: five fields as POSIX and vixie cron have them, six with seconds in front, and the
//! nicknames. Sources: POSIX.1-2024 `crontab`, crontab(5) of cronie.
//!
//! Where readers of cron disagree (`5/10`, ranges that go backwards, `?`, `L`, `W`, `#`, `~`), the line
//! is refused with what to write instead: a guess would run a job at a time that nobody meant.

use crate::calendar::{Calendar, DAYS, DayRule, Days, HOURS, MONTHS, SIXTY, Seconds, WEEKDAYS, narrow};
use crate::error::{Part, WhenError};

const MONTH_NAMES: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAY_NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The nicknames and the lines that they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What one field may hold.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names for the numbers from `first` on.
    names: &'static [&'static str],
    allowed: &'static str,
    /// How many values a step may skip over: a longer one would only ever name the first.
    step_max: u32,
}

const SECOND: Field = Field { name: "second", first: 0, last: 59, names: &[], allowed: "0-59", step_max: 60 };
const MINUTE: Field = Field { name: "minute", ..SECOND };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[], allowed: "0-23", step_max: 24 };
const DAY: Field =
    Field { name: "day of the month", first: 1, last: 31, names: &[], allowed: "1-31", step_max: 31 };
const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    names: &MONTH_NAMES,
    allowed: "1-12 or jan-dec",
    step_max: 12,
};
const WEEKDAY: Field = Field {
    name: "weekday",
    first: 0,
    last: 7,
    names: &WEEKDAY_NAMES,
    allowed: "0-7 (0 and 7 are Sunday) or sun-sat",
    step_max: 7,
};

/// The values of one field, and whether it begins with `*`, which is what cron goes by.
struct Values {
    set: u64,
    star: bool,
}

/// Reads `@daily` and its like; `@reboot` is refused.
pub(crate) fn parse_nickname(text: Part<'_>) -> Result<Calendar, WhenError> {
    let name = text.text.to_ascii_lowercase();
    if let Some((_, line)) = NICKNAMES.iter().find(|(nickname, _)| *nickname == name) {
        return parse_line(Part::whole(line));
    }
    if name == "@reboot" {
        return Err(WhenError::at(
            text,
            "`@reboot` names no time, so it cannot be missed, caught up or asked for",
        )
        .hint("declare a service for what belongs to a start, or a workflow with an event as its trigger"));
    }
    let allowed = NICKNAMES.map(|(nickname, _)| nickname);
    let error = WhenError::expected(text, format_args!("one of {}", allowed.join(" ")));
    Err(match hob_model::names::nearest(&name, allowed) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error,
    })
}

/// Reads five or six fields.
pub(crate) fn parse_line(text: Part<'_>) -> Result<Calendar, WhenError> {
    let words: Vec<_> = text.words().collect();
    let (second, fields) = match words.len() {
        5 => (None, &words[..]),
        6 => (Some(words[0]), &words[1..]),
        count => return Err(wrong_count(text, count)),
    };
    let second = second.map(|part| SECOND.parse(part)).transpose()?;
    let minute = MINUTE.parse(fields[0])?;
    let hour = HOUR.parse(fields[1])?;
    let day = DAY.parse(fields[2])?;
    let month = MONTH.parse(fields[3])?;
    let weekday = WEEKDAY.parse(fields[4]).map_err(|error| explain_command(error, &words))?;
    let follows_clock = minute.star || hour.star || second.as_ref().is_some_and(|second| second.star);
    let calendar = Calendar {
        months: narrow(month.set & u64::from(MONTHS)),
        days: Days::OfMonth(narrow(day.set & u64::from(DAYS))),
        weekdays: narrow((weekday.set | weekday.set >> 7) & u64::from(WEEKDAYS)),
        day_rule: if day.star || weekday.star { DayRule::Both } else { DayRule::Either },
        hours: narrow(hour.set & u64::from(HOURS)),
        minutes: minute.set & SIXTY,
        seconds: Seconds::Whole(second.map_or(1, |second| second.set & SIXTY)),
        follows_clock,
        ..Calendar::midnight()
    };
    if !calendar.names_any() {
        let message = format!("`{} {}` is a date that no year has", fields[2].text, fields[3].text);
        return Err(WhenError::at(fields[2].in_field(DAY.name), message).hint("this line would never fire"));
    }
    Ok(calendar)
}

fn wrong_count(text: Part<'_>, count: usize) -> WhenError {
    let error =
        WhenError::at(text, format!("found {count} fields, expected five, or six with seconds in front"));
    match count {
        7 => error.hint("a year cannot be given in a crontab line: write an OnCalendar expression instead"),
        _ if count > 7 => error.hint("leave out the user and the command"),
        _ => error.hint("minute, hour, day of the month, month, weekday; for example `30 4 * * mon-fri`"),
    }
}

/// Six fields may be five and a command.
fn explain_command(error: WhenError, words: &[Part<'_>]) -> WhenError {
    let last = words[words.len() - 1].text;
    let looks_like_command =
        last.starts_with(['/', '.', '~']) || last.bytes().filter(u8::is_ascii_alphabetic).count() > 3;
    if words.len() == 6 && looks_like_command {
        return error.hint("if this is a command, leave it out; six fields begin with the second");
    }
    error
}

impl Field {
    fn parse(&self, text: Part<'_>) -> Result<Values, WhenError> {
        let text = text.in_field(self.name);
        let mut set = 0;
        for element in text.split(',') {
            set |= self.parse_element(element)?;
        }
        Ok(Values { set, star: text.text.starts_with('*') })
    }

    /// One element of a list: `*`, `*/n`, `a`, `a-b` or `a-b/n`.
    fn parse_element(&self, element: Part<'_>) -> Result<u64, WhenError> {
        let (range, step) = match element.split_once("/") {
            Some((range, step)) => (range, Some(step)),
            None => (element, None),
        };
        let (first, last) = if range.text == "*" {
            (self.first, self.last.min(self.first + self.step_max - 1))
        } else if let Some((first, last)) = range.split_once("-") {
            let start = self.value(first)?;
            let end = self.value(last)?;
            // `fri-sun` ends with the second name of Sunday.
            let end = if end == 0 && self.last == 7 && start > 0 { 7 } else { end };
            if start > end {
                return Err(self.backwards(range, first, last));
            }
            (start, end)
        } else {
            let value = self.value(range)?;
            if let Some(step) = step {
                return Err(self.step_without_range(element, range, step));
            }
            (value, value)
        };
        let step = step.map_or(Ok(1), |step| self.step(step))?;
        Ok((first..=last).step_by(step).fold(0, |set, n| set | 1 << n))
    }

    fn value(&self, text: Part<'_>) -> Result<u32, WhenError> {
        if let Some(number) = text.number() {
            return if (self.first..=self.last).contains(&number) {
                Ok(number)
            } else {
                Err(WhenError::expected(text, self.allowed))
            };
        }
        let lower = text.text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.first + u32::try_from(at).expect("there are at most twelve names"));
        }
        let error =
            WhenError::expected(text, format_args!("{}, `*`, a list, a range or a step", self.allowed));
        Err(match self.instead_of(&lower) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    fn step(&self, text: Part<'_>) -> Result<usize, WhenError> {
        match text.number() {
            Some(step) if (1..=self.step_max).contains(&step) => Ok(step as usize),
            _ => Err(WhenError::expected(text, format_args!("a step from 1 to {}", self.step_max))
                .hint("for an interval that does not fit into its field write `every(\"90m\")`")),
        }
    }

    fn backwards(&self, range: Part<'_>, first: Part<'_>, last: Part<'_>) -> WhenError {
        let (from, to) = (first.text, last.text);
        let (top, bottom) = (if self.last == 7 { 6 } else { self.last }, self.first);
        WhenError::at(range, format!("the range `{from}-{to}` goes backwards"))
            .hint(format!("if it is to wrap around, write `{from}-{top},{bottom}-{to}`"))
    }

    /// `5/10` is "5, 15, 25 …" to some readers and "5" to others.
    fn step_without_range(&self, element: Part<'_>, value: Part<'_>, step: Part<'_>) -> WhenError {
        WhenError::at(element, format!("`{}` has a step but no range", element.text))
            .hint(format!("write `{}-{}/{}`", value.text, self.last, step.text))
    }

    /// What to write for the signs that other schedulers have.
    fn instead_of(&self, text: &str) -> Option<String> {
        if text == "?" {
            return Some("write `*`".to_owned());
        }
        if text.contains('~') {
            return Some("for a random but stable moment use the option `jitter`".to_owned());
        }
        // Quartz has `L`, `5L` and `2#2`.
        let of_quartz = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let about_days = self.last == 31 || self.last == 7;
        if about_days && (of_quartz.starts_with('#') || of_quartz == "l") {
            return Some(
                "write an OnCalendar expression, for example `*-*~01` (the last day of the month) or \
                         `Mon *-*-08..14` (the second Monday)"
                    .to_owned(),
            );
        }
        let nearest = hob_model::names::nearest(text, self.names.iter().copied())?;
        Some(format!("did you mean `{nearest}`?"))
    }
}
