//! What a subscription hears, as events.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt as _;
use hob_model::{Digest, OpError, Value};
use hob_primitive::{BoxFuture, EventSink, EventSource, Subscribing, Wanted};

use crate::EVENT_PAYLOAD_BYTES_MAX;
use crate::broker::broker;
use crate::port::{Broker, Delivery, Message, MqttPort, Quality, Subscription};
use crate::topic::check_filter;

/// What a trigger may say beside the filter.
const OPTIONS: [&str; 5] = ["broker", "user", "password_file", "ca", "qos"];

/// Makes sources of the messages that triggers `mqtt("FILTER", #{ broker, … })` ask for.
pub struct MqttSources {
    port: Arc<dyn MqttPort>,
}

impl MqttSources {
    /// The sources that `port` reaches.
    pub fn new(port: Arc<dyn MqttPort>) -> Self {
        Self { port }
    }
}

impl Subscribing for MqttSources {
    fn trigger(&self) -> &'static str {
        "mqtt"
    }

    fn source(&self, wanted: &Wanted<'_>) -> Result<Arc<dyn EventSource>, OpError> {
        check_filter(wanted.of)?;
        if let Some(unknown) = wanted.options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
            let error = OpError::invalid(format!("there is no option `{unknown}`"));
            return Err(match hob_model::names::nearest(unknown, OPTIONS) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the options are: {}", OPTIONS.join(", "))),
            });
        }
        let text = |key: &str| match wanted.options.get(key) {
            None | Some(Value::Unit) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                Err(OpError::invalid(format!("`{key}`: expected a text, found {}", other.type_name())))
            }
        };
        let path = |key: &str| Ok::<_, OpError>(text(key)?.map(|path| wanted.directory.join(path)));
        let quality = match wanted.options.get("qos").map_or(Some(1), Value::as_int) {
            Some(0) => Quality::AtMostOnce,
            Some(1) => Quality::AtLeastOnce,
            _ => return Err(OpError::invalid("`qos`: expected 0 or 1")),
        };
        let address = text("broker")?.ok_or_else(|| {
            OpError::invalid("`broker` is missing").hint("name it: #{ broker: \"mqtt://broker.lan\" }")
        })?;
        let (ca, password_file): (Option<PathBuf>, _) = (path("ca")?, path("password_file")?);
        let user = text("user")?;
        if user.is_none() && password_file.is_some() {
            return Err(OpError::invalid("there is a password and no `user`"));
        }
        let broker = broker(&address)?.with(ca, user, None, password_file);
        // The same at each start, so that the broker knows it; 23 characters are what each broker takes (3.1.3.1).
        let named = format!("{}\n{address}\n{}", wanted.owner, wanted.of);
        let client = format!("hob{}", &Digest::of(named.as_bytes()).to_string()[..20]);
        let subscription = Subscription { filter: wanted.of.to_owned(), quality, client };
        Ok(Arc::new(MqttSource { port: Arc::clone(&self.port), broker, address, subscription }))
    }
}

struct MqttSource {
    port: Arc<dyn MqttPort>,
    broker: Broker,
    address: String,
    subscription: Subscription,
}

impl MqttSource {
    /// `broker` and `of`, which the trigger compares, `topic text json retained qos bytes`.
    fn payload(&self, message: &Message) -> Value {
        let carried = message.payload.len() <= EVENT_PAYLOAD_BYTES_MAX;
        let text = std::str::from_utf8(&message.payload).ok().filter(|_| carried);
        let json = text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let json = json.and_then(|json| Value::from_json(json).ok());
        Value::map([
            ("broker", Value::from(self.address.as_str())),
            ("of", Value::from(self.subscription.filter.as_str())),
            ("topic", Value::from(message.topic.as_str())),
            ("text", text.map_or(Value::Unit, Value::from)),
            ("json", json.unwrap_or_default()),
            ("retained", Value::Bool(message.retain)),
            ("qos", Value::Int(message.quality as i64)),
            ("bytes", Value::from(u64::try_from(message.payload.len()).unwrap_or(u64::MAX))),
        ])
    }
}

impl EventSource for MqttSource {
    fn prefix(&self) -> &'static str {
        "mqtt."
    }

    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
        Box::pin(async move {
            let mut heard = self.port.subscribe(self.broker.clone(), self.subscription.clone());
            while let Some(delivery) = heard.next().await {
                let Delivery { message, confirm } = delivery.map_err(|fault| {
                    OpError::unavailable(format!("the broker {}: {}", self.address, fault.message))
                })?;
                // It is on the bus, durably, before the broker may forget it.
                if !sink.emit("mqtt.message", self.payload(&message)) {
                    return Ok(());
                }
                confirm();
            }
            Err(OpError::unavailable(format!("the connection to {} is closed", self.address)))
        })
    }
}
