//! The operations of `mqtt`.

use hob_primitive::primitive;

pub use operations::primitive;

/// Messages to an MQTT broker.
///
/// Messages from a broker start workflows: `on: mqtt("frigate/events", #{ broker: "mqtt://broker.lan" })`.
#[primitive(name = "mqtt")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText};

    use crate::PUBLISH_BYTES_MAX;
    use crate::broker::broker;
    use crate::port::{Broker, Fault, Message, MqttPort, Quality, Stage};
    use crate::topic::check_name;

    /// How a message is published.
    #[derive(Options)]
    struct PublishOptions {
        /// How often it may arrive: 0 at most once, 1 at least once, 2 exactly once.
        #[option(default = "1")]
        qos: u64,
        /// Whether the broker keeps it for who subscribes later.
        #[option(default = "false")]
        retain: bool,
        /// The user.
        user: Option<String>,
        /// The user's password.
        password: Option<String>,
        /// A file that holds the password, in place of `password`.
        password_file: Option<PathText>,
        /// A file with the certificate authorities to trust (PEM), in place of the system's.
        ca: Option<PathText>,
    }

    fn read(
        cx: &Ctx,
        address: &str,
        topic: String,
        payload: &Value,
        options: PublishOptions,
    ) -> Result<(Broker, Message), OpError> {
        check_name(&topic)?;
        let quality = match options.qos {
            0 => Quality::AtMostOnce,
            1 => Quality::AtLeastOnce,
            2 => Quality::ExactlyOnce,
            other => return Err(OpError::invalid(format!("`qos`: expected 0, 1 or 2, found {other}"))),
        };
        let payload = match payload {
            Value::Unit => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            Value::Blob(bytes) => bytes.clone(),
            other => {
                let json =
                    other.to_json().map_err(|error| OpError::invalid(format!("the payload: {error}")))?;
                json.to_string().into_bytes()
            }
        };
        if payload.len() > PUBLISH_BYTES_MAX {
            return Err(OpError::invalid(format!("a payload has up to {PUBLISH_BYTES_MAX} bytes")));
        }
        let path = |path: Option<PathText>| path.map(|path| cx.resolve(&path.0));
        let (ca, file) = (path(options.ca), path(options.password_file));
        let broker = broker(address)?.with(ca, options.user, options.password, file);
        Ok((broker, Message { topic, payload: payload.into(), quality, retain: options.retain }))
    }

    fn refused(fault: Fault, broker: &Broker) -> OpError {
        let text = format!("the broker {}:{}: {}", broker.host, broker.port, fault.message);
        match fault.stage {
            Stage::Setup => OpError::invalid(text).nothing_happened(),
            Stage::Connect => OpError::unavailable(text).nothing_happened(),
            Stage::Denied => OpError::denied(text)
                .hint("pass user and password_file, or let the broker's access list permit the topic")
                .nothing_happened(),
            Stage::Lost => OpError::unavailable(text),
        }
    }

    /// Publishes a message and waits until the broker has confirmed it.
    ///
    /// A text and a blob are sent as they are, `()` as nothing (which makes the broker forget a retained message), anything
    /// else as JSON.
    ///
    /// Class `once`: who is subscribed hears each message, and nobody can ask the broker whether one came. Where hearing it
    /// twice does no harm, as with most retained states, pass `idempotent: true`.
    ///
    /// Fails with `unavailable` when the broker cannot be reached (then nothing happened) or is lost before it confirmed,
    /// with `denied` for a wrong user or password, with `invalid` for a topic with `+` or `#`. With `qos: 0` nothing is
    /// confirmed: that it was sent is all that is known.
    ///
    /// ```rhai,no_run
    /// mqtt::publish("mqtt://broker.lan", "house/hob/backup", #{ state: "done" }, #{ retain: true });
    /// ```
    ///
    /// ```rhai
    /// try { mqtt::publish("mqtt://broker.lan", "house/+/light", "on"); false } catch (e) { e.kind == "invalid" }
    /// ```
    #[operation(once, permission = "mqtt:{url.host}/{topic}", timeout = "30s", returns = "()", model = model_publish)]
    async fn publish(
        cx: Ctx,
        url: String,
        topic: String,
        payload: Value,
        options: PublishOptions,
    ) -> Result<(), OpError> {
        let (broker, message) = read(&cx, &url, topic, &payload, options)?;
        // One connection for each effect: two of the same name would push each other out.
        let client = format!("hob{}", cx.key().chars().take(20).collect::<String>());
        let port = cx.port::<dyn MqttPort>()?;
        let published = port.publish(broker.clone(), client, message).await;
        published.map_err(|fault| refused(fault, &broker))
    }

    fn model_publish(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (url, topic): (String, String) = (args.next("url")?, args.next("topic")?);
        let payload: Value = args.next("payload")?;
        read(cx, &url, topic, &payload, args.options()?)?;
        Ok(Value::Unit)
    }
}
