//! Transient units, in the types that the bus wants.

use std::time::Duration;

use zbus::zvariant::{OwnedObjectPath, Value as Variant};

use super::bus::{Bus, job_result, next};
use crate::port::{Fault, FaultKind, Properties, Property, Transient, Verb};

/// How long a unit that is down may take to be let go of.
const FORGET_WAIT: Duration = Duration::from_secs(5);

/// A property as the bus wants it.
///
/// Nothing in commands is expanded: what a script passes is what the program sees. `ExecStartEx` with the flag
/// `no-env-expand` would say so, but systemd 252 writes that name into the unit's file, and has lost the command after
/// the next `daemon-reload`. So dollar signs are doubled, which systemd undoes.
fn variant(property: Property) -> Variant<'static> {
    match property {
        Property::Text(text) => Variant::from(text),
        Property::Bool(it) => Variant::from(it),
        Property::Int(number) => Variant::from(number),
        Property::Uint(number) => Variant::from(number),
        Property::Number(number) => Variant::from(number),
        Property::Texts(texts) => Variant::from(texts),
        Property::Calendar(pairs) => Variant::from(pairs),
        Property::Monotonic(pairs) => Variant::from(pairs),
        Property::Filter(only, names) => Variant::from((only, names)),
        Property::Pairs(pairs) => Variant::from(pairs),
        Property::Amounts(amounts) => Variant::from(amounts),
        Property::Binds(binds) => Variant::from(binds),
        Property::Files(files) => Variant::from(files),
        Property::Commands(commands) => {
            let command = |words: Vec<String>| {
                let program = words.first().cloned().unwrap_or_default();
                let words: Vec<String> = words.iter().map(|word| word.replace('$', "$$")).collect();
                (program, words, false)
            };
            Variant::from(commands.into_iter().map(command).collect::<Vec<_>>())
        }
    }
}

fn variants(properties: Properties) -> Vec<(String, Variant<'static>)> {
    properties.into_iter().map(|(name, property)| (name, variant(property))).collect()
}

impl Bus {
    /// Stops a transient unit and waits until it is let go of.
    pub(super) async fn forget(&self, unit: &str) -> Result<(), Fault> {
        let mut removals = self.signals("UnitRemoved").await?;
        match self.job(Verb::Stop, unit).await {
            Err(fault) if fault.kind != FaultKind::NoSuchUnit => return Err(fault),
            _ => {}
        }
        // It is gone already unless it failed.
        match self.call::<_, ()>("ResetFailedUnit", &(unit,)).await {
            Err(fault) if fault.kind != FaultKind::NoSuchUnit => return Err(fault),
            _ => {}
        }
        let gone = async {
            loop {
                match self.call::<_, OwnedObjectPath>("GetUnit", &(unit,)).await {
                    Err(fault) if fault.kind == FaultKind::NoSuchUnit => return Ok(()),
                    Err(fault) => return Err(fault),
                    Ok(_) => drop(next(&mut removals).await?),
                }
            }
        };
        let stays =
            || Fault::new(FaultKind::Exists, format!("{unit} is down, but another unit refers to it"));
        tokio::time::timeout(FORGET_WAIT, gone).await.unwrap_or_else(|_| Err(stays()))
    }

    /// Makes a transient unit and starts it; waits for its job.
    pub(super) async fn run(&self, transient: Transient) -> Result<String, Fault> {
        let ends = self.job_ends().await?;
        let beside: Vec<_> =
            transient.beside.into_iter().map(|(name, properties)| (name, variants(properties))).collect();
        let body = (transient.name, "fail", variants(transient.properties), beside);
        let job: OwnedObjectPath = self.call("StartTransientUnit", &body).await?;
        job_result(ends, &job).await
    }
}
