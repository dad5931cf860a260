//! How brokers are reached.

use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

/// What publishing gives, some time.
pub type Publishing<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// What a subscription hears, until the connection is lost.
pub type Deliveries = Pin<Box<dyn Stream<Item = Result<Delivery, Fault>> + Send>>;

/// A broker, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// A file with the certificate authorities to trust (PEM) in place of the system's.
    pub ca: Option<PathBuf>,
    /// The user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A file that holds the password; read at each connection.
    pub password_file: Option<PathBuf>,
}

/// How often a message may arrive (section 4.3 of the standard).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// At most once: nobody confirms it.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
    /// Exactly once.
    ExactlyOnce,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The name of its topic.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How often it may arrive.
    pub quality: Quality,
    /// To be published: the broker keeps it for who subscribes later. Heard: it was kept so.
    pub retain: bool,
}

/// What somebody wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter of topics.
    pub filter: String,
    /// The highest quality in which messages come.
    pub quality: Quality,
    /// Under this name the broker keeps messages while nobody listens.
    pub client: String,
}

/// A message that was heard. The broker forgets it when it is confirmed; until then it sends it again at each connection.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Confirms it.
    pub confirm: Box<dyn FnOnce() + Send>,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A file that the broker's description names cannot be used.
    Setup,
    /// There is no connection.
    Connect,
    /// The broker does not want this client: user, password or rights.
    Denied,
    /// The connection was lost.
    Lost,
}

/// Why it did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How far it came.
    pub stage: Stage,
    /// What was said.
    pub message: String,
}

impl Fault {
    /// A fault at `stage`.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into() }
    }
}

/// Reaches brokers.
pub trait MqttPort: Send + Sync {
    /// Publishes a message and waits until the broker has confirmed it, in the way of its quality. `client` names the
    /// connection. Dropping the future closes it.
    fn publish(&self, broker: Broker, client: String, message: Message) -> Publishing<'_>;

    /// Listens. Dropping the stream closes the connection; the broker goes on collecting for the subscription.
    fn subscribe(&self, broker: Broker, subscription: Subscription) -> Deliveries;
}
