//! Changes of states, from the signals of systemd.

use std::collections::{HashMap, VecDeque};

use futures_util::stream;
use zbus::message::Type;
use zbus::zvariant::OwnedValue;
use zbus::{MatchRule, MessageStream};

use super::bus::{Bus, PROPERTIES, SYSTEMD, UNIT, UNITS_PATH, next};
use crate::port::{Change, Changes, Fault};

/// `PropertiesChanged`: interface, changed properties, names of those that are to be asked for.
type Changed = (String, HashMap<String, OwnedValue>, Vec<String>);

struct Watch {
    /// Kept open: the signals come on it.
    _bus: Bus,
    signals: MessageStream,
    /// The active state of each unit.
    states: HashMap<String, String>,
    ready: VecDeque<Change>,
}

/// The changes from now on.
pub(super) async fn changes(bus: Bus) -> Result<Changes, Fault> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .and_then(|rule| rule.interface(PROPERTIES))
        .and_then(|rule| rule.path_namespace(UNITS_PATH))
        .and_then(|rule| rule.arg(0, UNIT));
    let signals = bus.listen(rule.map(zbus::match_rule::Builder::build)).await?;
    let states = bus.rows().await?.into_iter().map(|row| (row.name, row.active)).collect();
    let watch = Watch { _bus: bus, signals, states, ready: VecDeque::new() };
    Ok(Box::pin(stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        loop {
            if let Some(change) = watch.ready.pop_front() {
                return Some((Ok(change), Some(watch)));
            }
            match next(&mut watch.signals).await {
                Ok(message) => watch.take(&message),
                Err(fault) => return Some((Err(fault), None)),
            }
        }
    })))
}

impl Watch {
    fn take(&mut self, message: &zbus::Message) {
        let header = message.header();
        let unit = header.path().and_then(|path| unit_of(path.as_str()));
        let Ok((_, changed, _)) = message.body().deserialize::<Changed>() else { return };
        let text =
            |key: &str| changed.get(key).and_then(|value| <&str>::try_from(value).ok()).map(str::to_owned);
        let (Some(unit), Some(active)) = (unit, text("ActiveState")) else { return };
        let sub = text("SubState").unwrap_or_default();
        let before =
            self.states.insert(unit.clone(), active.clone()).unwrap_or_else(|| "inactive".to_owned());
        if before != active {
            self.ready.push_back(Change { unit, before, active, sub });
        }
    }
}

/// The unit that an object is: everything but letters and digits of its name is written `_` and two hexadecimal digits.
fn unit_of(path: &str) -> Option<String> {
    let escaped = path.rsplit('/').next()?.as_bytes();
    let mut name = Vec::with_capacity(escaped.len());
    let mut at = 0;
    while let Some(&byte) = escaped.get(at) {
        if byte == b'_' {
            let digits = std::str::from_utf8(escaped.get(at + 1..at + 3)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            name.push(byte);
            at += 1;
        }
    }
    String::from_utf8(name).ok()
}
