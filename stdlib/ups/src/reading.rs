//! What the variables of a supply say.

use hob_model::Value;

use crate::port::Variables;

/// Where the power comes from, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// From the mains.
    Online,
    /// From the battery.
    Battery,
    /// From a battery that is nearly empty.
    Low,
    /// The server has ordered a shutdown of all that it feeds (`FSD`).
    Shutdown,
    /// Nobody knows.
    Unknown,
}

impl Power {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Battery => "battery",
            Self::Low => "low",
            Self::Shutdown => "shutdown",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of a supply at one time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) power: Power,
    /// The words of `ups.status`: `OL`, `OB`, `LB`, `CHRG`, `RB`, …
    pub(crate) flags: Vec<String>,
    /// How full the battery is, from 0 to 1.
    pub(crate) charge: Option<f64>,
    /// For how long the battery lasts, in seconds.
    pub(crate) runtime: Option<f64>,
    /// How much of what it can give is taken, from 0 to 1 or above.
    pub(crate) load: Option<f64>,
}

impl Reading {
    /// One of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self { power: Power::Unknown, flags: vec![], charge: None, runtime: None, load: None }
    }

    /// What `variables` say. As for NUT's `upsmon`, a battery that a calibration empties is not low.
    pub(crate) fn of(variables: &Variables) -> Self {
        let status = variables.get("ups.status").map_or("", String::as_str);
        let flags: Vec<String> = status.split_whitespace().map(str::to_owned).collect();
        let has = |flag: &str| flags.iter().any(|it| it == flag);
        let power = match () {
            () if has("FSD") => Power::Shutdown,
            () if has("OB") && has("LB") && !has("CAL") => Power::Low,
            () if has("OB") => Power::Battery,
            () if has("OL") => Power::Online,
            () => Power::Unknown,
        };
        let number = |name: &str| {
            let number: f64 = variables.get(name)?.parse().ok()?;
            (number.is_finite() && number >= 0.0).then_some(number)
        };
        Self {
            power,
            charge: number("battery.charge").map(|percent| percent / 100.0),
            runtime: number("battery.runtime"),
            load: number("ups.load").map(|percent| percent / 100.0),
            flags,
        }
    }

    /// What scripts see of it, of the supply `ups`.
    pub(crate) fn fields(&self, ups: &str) -> [(&'static str, Value); 6] {
        let number = |number: Option<f64>| number.map_or(Value::Unit, Value::Float);
        let flags = self.flags.iter().map(|flag| Value::from(flag.as_str()));
        [
            ("ups", ups.into()),
            ("state", self.power.as_str().into()),
            ("flags", Value::Array(flags.collect())),
            ("charge", number(self.charge)),
            ("runtime", number(self.runtime)),
            ("load", number(self.load)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: &str) -> Power {
        Reading::of(&Variables::from([("ups.status".to_owned(), status.to_owned())])).power
    }

    #[test]
    fn flags_say_where_power_comes_from() {
        assert_eq!(read("OL CHRG LB"), Power::Online);
        assert_eq!(read("OB DISCHRG"), Power::Battery);
        assert_eq!(read("OB DISCHRG LB"), Power::Low);
        assert_eq!(read("CAL OB LB"), Power::Battery);
        assert_eq!(read("FSD OL"), Power::Shutdown);
        assert_eq!([read("WAIT"), read("OFF"), read("")], [Power::Unknown; 3]);
    }

    #[test]
    fn numbers_are_ratios_and_seconds() {
        let variables = [("battery.charge", "87"), ("battery.runtime", "1200.5"), ("ups.load", "NaN")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let reading = Reading::of(&Variables::from(variables));
        assert_eq!((reading.charge, reading.runtime, reading.load), (Some(0.87), Some(1200.5), None));
    }
}
