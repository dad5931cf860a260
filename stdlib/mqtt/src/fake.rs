//! A broker in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream;
use tokio::sync::Notify;

use crate::port::{Broker, Deliveries, Delivery, Fault, Message, MqttPort, Publishing, Stage, Subscription};
use crate::topic::matches;

/// A broker that keeps everything in memory. It has one user, if any, and can be told to be away.
#[derive(Clone, Default)]
pub struct FakeBroker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    account: Option<(String, String)>,
    away: bool,
    /// Counts how often it went away: connections from before are lost.
    lives: u64,
    retained: BTreeMap<String, Message>,
    sessions: BTreeMap<String, Session>,
}

/// What is kept for a client.
#[derive(Default)]
struct Session {
    filter: Option<String>,
    /// With a number each; those that were handed out and not confirmed are handed out again at the next connection.
    waiting: VecDeque<(u64, Message)>,
    given: u64,
    /// Up to where the present connection was handed out.
    handed: u64,
}

impl Session {
    fn push(&mut self, message: Message) {
        self.given += 1;
        self.waiting.push_back((self.given, message));
    }
}

impl FakeBroker {
    /// Lets in this user alone.
    pub fn account(&self, user: &str, password: &str) {
        self.state().account = Some((user.to_owned(), password.to_owned()));
    }

    /// It goes away, and all connections with it; or it comes back with what it kept.
    pub fn away(&self, away: bool) {
        let mut state = self.state();
        state.away = away;
        state.lives += u64::from(away);
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection; the number of the broker's life.
    fn connect(&self, broker: &Broker) -> Result<u64, Fault> {
        let state = self.state();
        if state.away {
            return Err(Fault::new(Stage::Connect, "Connection refused"));
        }
        let given = broker.user.clone().map(|user| (user, broker.password.clone().unwrap_or_default()));
        if state.account.is_some() && state.account != given {
            return Err(Fault::new(Stage::Denied, "the user or the password is wrong"));
        }
        Ok(state.lives)
    }

    fn subscribed(&self, broker: &Broker, subscription: &Subscription) -> Result<u64, Fault> {
        let life = self.connect(broker)?;
        let mut state = self.state();
        let State { retained, sessions, .. } = &mut *state;
        let session = sessions.entry(subscription.client.clone()).or_default();
        session.handed = 0;
        // Each subscribing brings what is retained.
        session.filter = Some(subscription.filter.clone());
        for message in retained.values().filter(|message| matches(&subscription.filter, &message.topic)) {
            session.push(message.clone());
        }
        Ok(life)
    }

    /// The next message of a connection of this life, if there is one by now.
    fn take(&self, subscription: &Subscription, life: u64) -> Result<Option<Delivery>, Fault> {
        let mut state = self.state();
        if state.away || state.lives != life {
            return Err(Fault::new(Stage::Lost, "connection closed by peer"));
        }
        let Some(session) = state.sessions.get_mut(&subscription.client) else { return Ok(None) };
        let Some((number, message)) =
            session.waiting.iter().find(|(number, _)| *number > session.handed).cloned()
        else {
            return Ok(None);
        };
        session.handed = number;
        let (inner, client) = (self.clone(), subscription.client.clone());
        let confirm = Box::new(move || {
            if let Some(session) = inner.state().sessions.get_mut(&client) {
                session.waiting.retain(|(waiting, _)| *waiting != number);
            }
        });
        let quality = message.quality.min(subscription.quality);
        Ok(Some(Delivery { message: Message { quality, ..message }, confirm }))
    }

    async fn next(&self, subscription: &Subscription, life: u64) -> Result<Delivery, Fault> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(delivery) = self.take(subscription, life)? {
                return Ok(delivery);
            }
            changed.await;
        }
    }
}

impl MqttPort for FakeBroker {
    fn publish(&self, broker: Broker, _: String, message: Message) -> Publishing<'_> {
        Box::pin(async move {
            self.connect(&broker)?;
            let mut state = self.state();
            let heard = Message { retain: false, ..message.clone() };
            for session in state.sessions.values_mut() {
                if session.filter.as_ref().is_some_and(|filter| matches(filter, &message.topic)) {
                    session.push(heard.clone());
                }
            }
            if message.retain && message.payload.is_empty() {
                state.retained.remove(&message.topic);
            } else if message.retain {
                state.retained.insert(message.topic.clone(), message);
            }
            drop(state);
            self.0.changed.notify_waiters();
            Ok(())
        })
    }

    fn subscribe(&self, broker: Broker, subscription: Subscription) -> Deliveries {
        let life = self.subscribed(&broker, &subscription);
        Box::pin(stream::unfold(Some((self.clone(), subscription, life)), |open| async move {
            let (broker, subscription, life) = open?;
            let heard = match &life {
                Ok(life) => broker.next(&subscription, *life).await,
                Err(fault) => Err(fault.clone()),
            };
            let rest = heard.is_ok().then_some((broker, subscription, life));
            Some((heard, rest))
        }))
    }
}
