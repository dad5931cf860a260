//! What the homelab declares of a channel, and the channel that it makes.

use std::collections::BTreeMap;
use std::path::Path;

use hob_model::{OpError, Secret, Value};
use hob_primitive::{
    ChannelForm, Ctx, DeclaredChannel, Nested, OptionMap, Options, SecretText, SecretTexts, open_with,
    resolve,
};
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::address::{Beside, Parts, Service};
use crate::message::{Message, Priority};
use crate::pace::{Quiet, Rate};
use crate::request;

/// The hours in which only what is important disturbs, as they are written.
#[derive(Clone, Debug, Options)]
struct QuietOptions {
    /// When they begin: `"22:00"`.
    from: String,
    /// When they end: `"07:00"`.
    to: String,
    /// The least priority that goes all the same.
    #[option(default = "Priority::Urgent")]
    except: Priority,
}

/// What a channel is declared with.
#[derive(Clone, Debug, Options)]
pub(crate) struct ChannelOptions {
    /// Where messages go, in a URL form of Apprise; all of it or a part may be a secret.
    url: SecretText,
    /// The user, in place of that in the address.
    user: Option<String>,
    /// The password, in place of that in the address.
    password: Option<SecretText>,
    /// The token, in place of that in the address.
    token: Option<SecretText>,
    /// The server, in place of the one that the service has for everybody.
    server: Option<String>,
    /// Headers of webhooks.
    headers: Option<SecretTexts>,
    /// The body that webhooks get: a Jinja template over the message.
    template: Option<String>,
    /// The media type of what the template makes.
    #[option(default = "\"application/json\".to_owned()")]
    content_type: String,
    /// The priority of messages that have none.
    priority: Option<Priority>,
    /// Tags that each message gets beside its own.
    tags: Option<Vec<String>>,
    /// The title of messages that have none.
    title: Option<String>,
    /// How many messages in which time: `"30/1h"`; further ones wait.
    rate: Option<String>,
    /// `#{ from, to, except }`: the hours in which only what is important goes; the rest waits.
    quiet: Option<Nested<QuietOptions>>,
    /// The channel that is tried when this one does not take a message.
    fallback: Option<String>,
    /// Whether the server's certificate is checked.
    #[option(default = "true")]
    verify: bool,
    /// A file with further certificate authorities (PEM).
    ca: Option<String>,
}

/// A channel with its secrets open.
pub(crate) struct Channel {
    pub(crate) service: Service,
    pub(crate) headers: BTreeMap<String, Zeroizing<String>>,
    pub(crate) template: Option<String>,
    pub(crate) content_type: String,
    pub(crate) insecure: bool,
    pub(crate) ca: Option<std::path::PathBuf>,
    pub(crate) rate: Option<Rate>,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) zone: TimeZone,
    pub(crate) fallback: Option<String>,
    priority: Option<Priority>,
    tags: Vec<String>,
    title: Option<String>,
}

/// Opens a secret as a text.
type Open<'a> = dyn Fn(&Secret) -> Result<Zeroizing<String>, OpError> + 'a;

impl Channel {
    /// The channel that a declaration makes. Its secrets belong to the homelab: whoever may use the channel need not be able
    /// to read them.
    pub(crate) fn declared(cx: &Ctx, declared: &DeclaredChannel) -> Result<Self, OpError> {
        let open = |secret: &Secret| {
            let opened = open_with(secret, |reference| {
                // A file with a secret ends with a line break that belongs to none.
                let opened = cx.vault()?.open(&declared.place, reference)?;
                Ok(Zeroizing::new(opened.trim_ascii_end().to_vec()))
            })?;
            text(&opened)
        };
        Self::read(declared.options.clone(), &declared.zone, &declared.place, &open)
            .map_err(|error| within(error, &declared.name))
    }

    /// The channel of an address.
    pub(crate) fn address(cx: &Ctx, url: &Secret) -> Result<Self, OpError> {
        let options = BTreeMap::from([("url".to_owned(), Value::Secret(url.clone()))]);
        Self::read(options, &TimeZone::UTC, cx.cwd(), &|secret| cx.open_text(secret))
    }

    fn read(
        options: BTreeMap<String, Value>,
        zone: &TimeZone,
        place: &Path,
        open: &Open<'_>,
    ) -> Result<Self, OpError> {
        let options: ChannelOptions = OptionMap::new(options).read()?;
        let secret = |given: &Option<SecretText>| given.as_ref().map(|it| open(&it.0)).transpose();
        let ca = options.ca.as_deref().map(|path| resolve(place, path));
        let beside = Beside {
            user: options.user.clone(),
            password: secret(&options.password)?,
            token: secret(&options.token)?,
            server: options.server.clone(),
            insecure: !options.verify,
            ca: ca.clone(),
        };
        let service = Parts::read(&open(&options.url.0)?)?.service(&beside)?;
        let is_webhook = matches!(service, Service::Webhook { .. });
        if !is_webhook && (options.template.is_some() || options.headers.is_some()) {
            return Err(OpError::invalid(
                "`template` and `headers` are for webhooks: json://, jsons://, http://, https://",
            ));
        }
        if let Some(template) = &options.template {
            request::check_template(template)?;
        }
        let open_header = |(name, value): (&String, &SecretText)| Ok((name.clone(), open(&value.0)?));
        Ok(Self {
            service,
            headers: options.headers.iter().flatten().map(open_header).collect::<Result<_, OpError>>()?,
            template: options.template,
            content_type: options.content_type,
            insecure: !options.verify,
            ca,
            rate: options.rate.as_deref().map(Rate::parse).transpose()?,
            quiet: options.quiet.map(|Nested(quiet)| read_quiet(&quiet)).transpose()?,
            zone: zone.clone(),
            fallback: options.fallback,
            priority: options.priority,
            tags: options.tags.unwrap_or_default(),
            title: options.title,
        })
    }

    /// Adds what the channel says of all its messages.
    pub(crate) fn complete(&self, message: &mut Message) {
        message.priority = message.priority.or(self.priority);
        if message.title.is_empty() {
            message.title = self.title.clone().unwrap_or_default();
        }
        let added = self.tags.iter().filter(|tag| !message.tags.contains(tag)).cloned();
        message.tags =
            added.collect::<Vec<_>>().into_iter().chain(std::mem::take(&mut message.tags)).collect();
    }
}

fn read_quiet(quiet: &QuietOptions) -> Result<Quiet, OpError> {
    let (from, to) = (Quiet::time("from", &quiet.from)?, Quiet::time("to", &quiet.to)?);
    if from == to {
        return Err(OpError::invalid("option `quiet`: it begins when it ends"));
    }
    Ok(Quiet { from, to, except: quiet.except })
}

fn text(bytes: &[u8]) -> Result<Zeroizing<String>, OpError> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| OpError::invalid("a secret of the channel is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn within(mut error: OpError, name: &str) -> OpError {
    error.message = format!("channel `{name}`: {}", error.message);
    error
}

/// Checks declarations: what is no secret is read as it will be used.
pub(crate) struct Form;

/// What stands for a secret while a declaration is checked: it fits wherever one may stand.
const STANDS_FOR_SECRET: &str = "1";

impl ChannelForm for Form {
    fn check(&self, declared: &DeclaredChannel) -> Result<(), OpError> {
        let closed = |secret: &Secret| {
            let opened = open_with(secret, |_| Ok(Zeroizing::new(STANDS_FOR_SECRET.as_bytes().to_vec())))?;
            text(&opened)
        };
        let whole = matches!(declared.options.get("url"), Some(Value::Secret(url)) if url.single().is_some());
        let mut options = declared.options.clone();
        if whole {
            // Nothing is known of an address that is secret as a whole.
            options.insert("url".to_owned(), Value::from("json://localhost"));
            ["template", "headers"].iter().for_each(|key| drop(options.remove(*key)));
        }
        Channel::read(options, &declared.zone, &declared.place, &closed).map(drop)
    }
}
