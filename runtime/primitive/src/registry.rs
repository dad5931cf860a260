//! All primitives of a binary.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::names::nearest;
use hob_model::{EffectClass, duration};

use crate::{Handler, Operation, Primitive};

/// Why a set of primitives is refused: a mistake of the person who wrote one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {problem}")]
pub struct RegistryError {
    /// Which declaration is wrong.
    pub operation: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// The operations that scripts can call, by full name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    primitives: Vec<Primitive>,
    operations: BTreeMap<&'static str, Arc<Operation>>,
}

impl Registry {
    /// The registry of these primitives.
    ///
    /// # Errors
    /// When a declaration is incomplete or doubled.
    pub fn new(primitives: Vec<Primitive>) -> Result<Self, RegistryError> {
        let mut operations = BTreeMap::new();
        for primitive in &primitives {
            for operation in &primitive.operations {
                let refuse = |problem| RegistryError { operation: operation.name.to_owned(), problem };
                check(operation).map_err(refuse)?;
                if operations.insert(operation.name, Arc::new(operation.clone())).is_some() {
                    return Err(refuse("is declared twice"));
                }
            }
        }
        Ok(Self { primitives, operations })
    }

    /// All primitives, in the order given.
    #[must_use]
    pub fn primitives(&self) -> &[Primitive] {
        &self.primitives
    }

    /// All operations, by name.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.operations.values()
    }

    /// The operation with this full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Operation>> {
        self.operations.get(name)
    }

    /// The known name nearest to a wrong one; of operations of the same primitive first.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let names = || self.operations.keys().copied();
        let Some((primitive, short)) = name.rsplit_once("::") else {
            return nearest(name, names());
        };
        let of_primitive = names().filter(|n| n.rsplit_once("::").is_some_and(|(p, _)| p == primitive));
        let found = nearest(short, of_primitive.map(|n| n.rsplit_once("::").map_or(n, |(_, short)| short)));
        match found {
            Some(short) => names()
                .find(|n| n.strip_prefix(primitive).is_some_and(|r| r.strip_prefix("::") == Some(short))),
            None => nearest(name, names()),
        }
    }
}

fn check(operation: &Operation) -> Result<(), &'static str> {
    if operation.doc.trim().is_empty() {
        return Err("has no documentation");
    }
    if !operation.doc.contains("```rhai") {
        return Err("has no example in its documentation");
    }
    let pure = matches!(operation.handler, Handler::Pure(_));
    if pure != (operation.class == EffectClass::Pure) {
        return Err("is pure exactly when it takes no context");
    }
    if (operation.class == EffectClass::Keyed) != operation.keyed.is_some() {
        return Err("is keyed exactly when it has a probe");
    }
    let no_duration = |text: Option<&str>| text.is_some_and(|text| duration::parse(text).is_err());
    if no_duration(operation.timeout) || no_duration(operation.grace) {
        return Err("has a timeout or a grace that is no duration");
    }
    let mut optional = operation.params.iter().skip_while(|param| !param.optional);
    if optional.any(|param| !param.optional) {
        return Err("has a required parameter after an optional one");
    }
    Ok(())
}
