//! A server in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_model::OpError;
use hob_primitive::BoxFuture;

use crate::port::{Server, UpsPort, Variables};
use crate::protocol::refused;

/// A server, at any address, that says of its supplies what it was told. It can be told to be away.
#[derive(Clone, Debug, Default)]
pub struct FakeUps(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    supplies: BTreeMap<String, Variables>,
    away: bool,
}

impl FakeUps {
    /// A supply has these variables from now on.
    pub fn set(&self, name: &str, variables: &[(&str, &str)]) {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.state().supplies.insert(name.to_owned(), variables);
    }

    /// It goes away, or comes back.
    pub fn away(&self, away: bool) {
        self.state().away = away;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(&self, answer: impl FnOnce(&State) -> Result<T, OpError>) -> Result<T, OpError> {
        let state = self.state();
        match state.away {
            true => Err(OpError::unavailable("the server is away")),
            false => answer(&state),
        }
    }
}

impl UpsPort for FakeUps {
    fn list(&self, _: Server) -> BoxFuture<Vec<(String, String)>> {
        let names = |state: &State| state.supplies.keys().map(|name| (name.clone(), String::new())).collect();
        let answer = self.answer(|state| Ok(names(state)));
        Box::pin(async move { answer })
    }

    fn variables(&self, _: Server, name: String) -> BoxFuture<Variables> {
        let answer = self
            .answer(|state| state.supplies.get(&name).cloned().ok_or_else(|| refused("UNKNOWN-UPS", &name)));
        Box::pin(async move { answer })
    }
}
