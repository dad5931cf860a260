//! The operations of `notify`.

use hob_primitive::primitive;

pub use operations::primitive;

/// Messages to people: ntfy, Gotify, mail, Slack, Mattermost, Discord, Telegram and any webhook.
///
/// `to` is the name of a channel that the homelab declares, or an address in a URL form of Apprise. What a declared channel
/// does not take now, because its server is down or it is night, is delivered later, over restarts too.
#[primitive(name = "notify")]
mod operations {
    use std::collections::BTreeMap;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Channels, Ctx, Options, SecretText};

    use crate::channel::Channel;
    use crate::delivery::{Delivered, Order, To, deliver as try_now};
    use crate::message::{Message, MessageOptions};

    /// Sends a message: `#{ state, channel, key }`, where `state` is `"sent"` or `"held"`.
    ///
    /// Class `once`, and done again when its outcome is unknown (`on_doubt: "retry"`): a message that comes twice is better
    /// than none. It carries the same key then, as `Message-ID` of mail, as `sequence_id` of ntfy and as `Idempotency-Key`
    /// everywhere, so that a receiver can tell. `on_doubt: "skip"` sends at most once.
    ///
    /// A message that a declared channel cannot take now is `"held"`, with `not_before` and `why`: hob delivers it later, in a run
    /// of its own, and the script goes on.
    ///
    /// Fails with `not_found` for a channel that is not declared, `invalid` for a message or an address that is none,
    /// `denied`, `not_found` or `invalid` when no channel takes it and none will, and with `unavailable` or `timeout` when
    /// nobody would deliver it later.
    ///
    /// ```rhai,no_run
    /// notify::send("ops", "The backup is done.");
    /// ```
    ///
    /// ```rhai,no_run
    /// notify::send("ops", #{
    ///     title: "Disk failing",
    ///     body: "sda reports 12 pending sectors",
    ///     severity: "critical",
    ///     tags: ["floppy_disk"],
    ///     actions: [#{ label: "Open", url: "https://nas.example.net/" }],
    ///     attach: ["/var/log/smart.txt"],
    /// });
    /// ```
    ///
    /// ```rhai
    /// try { notify::send("pager://x", "hello"); false } catch (e) { e.kind == "invalid" }
    /// ```
    #[operation(once, on_doubt = "retry", permission = "notify.send:{to}", timeout = "5m", returns = "map", model = model_send)]
    async fn send(
        cx: Ctx,
        to: SecretText,
        body: Option<String>,
        options: MessageOptions,
    ) -> Result<Value, OpError> {
        let mut message = Message::read(body, options)?;
        message.settle_paths(&cx)?;
        let to = To::read(to.0);
        let order = Order { message: &message, key: cx.key(), earlier: 0 };
        let delivered = try_now(&cx, &to, &order).await?;
        if let Delivered::Later { until, why } = &delivered {
            let To::Name(name) = &to else { return Err(OpError::unavailable(why.clone())) };
            let held = Value::map([
                ("channel", Value::from(name.as_str())),
                ("message", message.to_value()),
                ("key", cx.key().into()),
                ("not_before", until.to_string().into()),
                ("on_doubt", cx.on_doubt().as_str().into()),
                ("why", why.as_str().into()),
            ]);
            let origin = format!("run:{}/{}", cx.run(), cx.position());
            if !cx.port::<dyn Channels>()?.hold(held, &origin)? {
                return Err(OpError::unavailable(why.clone()));
            }
        }
        Ok(told(delivered, cx.key()))
    }

    fn told(delivered: Delivered, key: &str) -> Value {
        match delivered {
            Delivered::Sent(channel) => {
                Value::map([("state", Value::from("sent")), ("channel", channel.into()), ("key", key.into())])
            }
            Delivered::Later { until, why } => Value::map([
                ("state", Value::from("held")),
                ("not_before", until.to_string().into()),
                ("why", why.into()),
                ("key", key.into()),
            ]),
        }
    }

    /// A dry run checks the message, and an address that is no secret.
    fn model_send(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (to, body): (SecretText, Option<String>) = (args.next("to")?, args.next("body")?);
        Message::read(body, args.options()?)?;
        let name = match To::read(to.0) {
            To::Name(name) => name,
            To::Address(url) => {
                if url.references().next().is_none() {
                    Channel::address(cx, &url)?;
                }
                String::new()
            }
        };
        Ok(told(Delivered::Sent(name), cx.key()))
    }

    /// How a message is tried.
    #[derive(Options)]
    struct DeliverOptions {
        /// The key that it is told by; this call's without one.
        key: Option<String>,
        /// How often it was tried before: the pause that a failure asks for grows with it.
        #[option(default = "0")]
        earlier: u32,
    }

    /// Tries once to deliver a message: `#{ state, channel, key }`, or `#{ state: "held", not_before, why, key }` when it is to be
    /// tried again.
    ///
    /// Class `once`, and done again when its outcome is unknown, as `notify::send`. It is what hob's own delivery of messages
    /// that are held is made of.
    ///
    /// The message is a map of the options of `notify::send`. Fails as that, but never because it is too early.
    ///
    /// ```rhai,no_run
    /// let tried = notify::deliver("ops", #{ body: "The backup is done." });
    /// if tried.state == "held" { sleep_until(tried.not_before); }
    /// ```
    ///
    /// ```rhai
    /// try { notify::deliver("nowhere", #{ body: "hello" }); false } catch (e) { e.kind != "invalid" }
    /// ```
    #[operation(once, on_doubt = "retry", permission = "notify.send:{to}", timeout = "5m", returns = "map", model = model_deliver)]
    async fn deliver(
        cx: Ctx,
        to: SecretText,
        message: BTreeMap<String, Value>,
        options: DeliverOptions,
    ) -> Result<Value, OpError> {
        let mut message = Message::from_value(message)?;
        message.settle_paths(&cx)?;
        let key = options.key.unwrap_or_else(|| cx.key().to_owned());
        let order = Order { message: &message, key: &key, earlier: options.earlier };
        let delivered = try_now(&cx, &To::read(to.0), &order).await?;
        Ok(told(delivered, &key))
    }

    fn model_deliver(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (to, message): (SecretText, BTreeMap<String, Value>) = (args.next("to")?, args.next("message")?);
        Message::from_value(message)?;
        let name = match To::read(to.0) {
            To::Name(name) => name,
            To::Address(_) => String::new(),
        };
        Ok(told(Delivered::Sent(name), cx.key()))
    }
}
