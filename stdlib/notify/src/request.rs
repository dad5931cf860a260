//! A message as each service wants it over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hob_model::OpError;
use hob_std_http::port::{Request, Route};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Value as Json, json};
use url::Url;

use crate::address::{Login, Service};
use crate::channel::Channel;
use crate::message::{Action, Attachment, Message, Priority, cut};

/// How hob names itself.
const USER_AGENT_TEXT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// What the services take of a text: the limits that they document, in characters.
const DISCORD_CHARS_MAX: usize = 2_000;
const TELEGRAM_CHARS_MAX: usize = 4_096;
const TELEGRAM_CAPTION_CHARS_MAX: usize = 1_024;

/// What ntfy takes as a text before it makes a file of it, in bytes.
const NTFY_BYTES_MAX: usize = 4_096;

/// The longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;

/// How many instructions a template may take.
const TEMPLATE_FUEL: u64 = 500_000;

/// The header that says which message it is: the same whenever it is sent again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A message on its way to a service.
pub(crate) struct Letter<'a> {
    pub(crate) message: &'a Message,
    pub(crate) attachments: &'a [Attachment],
    /// The same whenever it is sent again.
    pub(crate) key: &'a str,
}

/// A request before its headers.
struct Draft {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Draft {
    fn json(url: Url, json: &Json) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { method: Method::POST, url, headers, body: json.to_string().into_bytes() }
    }

    fn set(&mut self, name: HeaderName, text: &str) -> Result<(), OpError> {
        let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
            OpError::invalid(format!("the header `{name}` has a line break or another control character"))
        })?;
        self.headers.insert(name, value);
        Ok(())
    }

    fn log_in(&mut self, login: &Login) -> Result<(), OpError> {
        let text = match login {
            Login::None => return Ok(()),
            Login::Basic(user, password) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", &**password)))
            }
            Login::Bearer(token) => format!("Bearer {}", &**token),
        };
        self.set(AUTHORIZATION, &text)
    }

    fn join(url: &Url, path: &[&str]) -> Url {
        let mut url = url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }
}

/// The request that hands a letter to the service of a channel; `None` for mail, which is none.
pub(crate) fn request(channel: &Channel, letter: &Letter<'_>) -> Result<Option<Request>, OpError> {
    let mut draft = match &channel.service {
        Service::Mail { .. } => return Ok(None),
        Service::Ntfy { base, topic, login } => {
            let mut draft = ntfy(base, topic, letter)?;
            draft.log_in(login)?;
            draft
        }
        Service::Gotify { base, token } => {
            let mut draft = Draft::json(Draft::join(base, &["message"]), &gotify(letter));
            draft.set(HeaderName::from_static("x-gotify-key"), token)?;
            draft
        }
        Service::Webhook { url, login } => {
            let mut draft = webhook(url, channel, letter)?;
            draft.log_in(login)?;
            draft
        }
        Service::Slack { url, channel, mattermost } => {
            Draft::json(url.clone(), &slack(letter, channel.as_deref(), *mattermost))
        }
        Service::Discord { url } => discord(url, letter)?,
        Service::Telegram { base, token, chat } => telegram(base, token, chat, letter)?,
    };
    for (name, value) in &channel.headers {
        let parsed: HeaderName = name.parse().map_err(|_| {
            OpError::invalid(format!("option `headers`: `{}` is no name of a header", name.escape_debug()))
        })?;
        draft.set(parsed, value)?;
    }
    draft.set(IDEMPOTENCY_KEY, letter.key)?;
    draft.headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_TEXT));
    draft.headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
    let route = Route { insecure: channel.insecure, ca: channel.ca.clone(), ..Route::default() };
    Ok(Some(Request {
        method: draft.method,
        url: draft.url,
        headers: draft.headers,
        body: draft.body.into(),
        route,
    }))
}

/// The five steps of ntfy (its documentation, "Message priority").
fn step(priority: Option<Priority>) -> u8 {
    match priority.unwrap_or(Priority::Default) {
        Priority::Min => 1,
        Priority::Low => 2,
        Priority::Default => 3,
        Priority::High => 4,
        Priority::Urgent => 5,
    }
}

/// The text with what a service without files, buttons or tags cannot carry otherwise.
fn plain(letter: &Letter<'_>, files: bool, buttons: bool) -> String {
    let mut text = letter.message.body.clone();
    let mut line = |line: String| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    };
    if buttons {
        letter.message.click.iter().for_each(|url| line(url.clone()));
        for Action { label, url, .. } in &letter.message.actions {
            line(format!("{label}: {url}"));
        }
    }
    if files {
        for Attachment { name, content, .. } in letter.attachments {
            line(format!("({name}, {} bytes, is not carried by this channel)", content.len()));
        }
    }
    text
}

/// <https://docs.ntfy.sh/publish/>: as JSON; with a file as its body and the rest in headers.
fn ntfy(base: &Url, topic: &str, letter: &Letter<'_>) -> Result<Draft, OpError> {
    let Letter { message, attachments, key } = letter;
    let action = |action: &Action| {
        let kind = if action.post { "http" } else { "view" };
        let mut json = json!({ "action": kind, "label": action.label, "url": action.url });
        if action.post {
            json["method"] = "POST".into();
            json["clear"] = true.into();
        }
        json
    };
    let actions: Vec<Json> = message.actions.iter().map(action).collect();
    let Some((first, others)) = attachments.split_first() else {
        let text = cut(&message.body, NTFY_BYTES_MAX);
        let mut json = json!({
            "topic": topic, "message": text, "title": message.title, "tags": message.tags,
            "priority": step(message.priority), "actions": actions, "sequence_id": key,
        });
        if let Some(click) = &message.click {
            json["click"] = click.as_str().into();
        }
        return Ok(Draft::json(base.clone(), &json));
    };
    // One file goes with one message.
    let rest = Letter { attachments: others, ..*letter };
    let text = cut(&plain(&rest, true, false), NTFY_BYTES_MAX);
    let mut draft = Draft {
        method: Method::PUT,
        url: Draft::join(base, &[topic]),
        headers: HeaderMap::new(),
        body: first.content.clone(),
    };
    let fields = [
        ("x-message", encoded(&text)),
        ("x-title", encoded(&message.title)),
        ("x-tags", encoded(&message.tags.join(","))),
        ("x-priority", step(message.priority).to_string()),
        ("x-filename", encoded(&first.name)),
        ("x-click", message.click.clone().unwrap_or_default()),
        ("x-sequence-id", (*key).to_owned()),
        (
            "x-actions",
            if actions.is_empty() { String::new() } else { encoded(&Json::from(actions).to_string()) },
        ),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        draft.set(HeaderName::from_static(name), &value)?;
    }
    Ok(draft)
}

/// A text in a header: as it is, or as RFC 2047 has it, which ntfy reads.
fn encoded(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.starts_with("=?");
    if is_plain { text.to_owned() } else { format!("=?UTF-8?B?{}?=", STANDARD.encode(text)) }
}

/// <https://gotify.net/docs/pushmsg>; its apps make a sound from priority 4 on, and pop up from 8.
fn gotify(letter: &Letter<'_>) -> Json {
    let message = letter.message;
    let priority = [0, 2, 4, 6, 8, 10][usize::from(step(message.priority))];
    let mut json =
        json!({ "message": plain(letter, true, true), "title": message.title, "priority": priority });
    if let Some(click) = &message.click {
        json["extras"] = json!({ "client::notification": { "click": { "url": click } } });
    }
    json
}

/// The message as templates and webhooks see it.
fn fields(letter: &Letter<'_>) -> Json {
    let Letter { message, attachments, key } = letter;
    let action = |it: &Action| json!({ "label": it.label, "url": it.url, "post": it.post });
    let file = |it: &Attachment| json!({ "filename": it.name, "mimetype": it.kind, "base64": STANDARD.encode(&it.content) });
    json!({
        "version": "1.0",
        "key": key,
        "title": message.title,
        "message": message.body,
        "priority": message.priority.unwrap_or(Priority::Default).as_str(),
        "tags": message.tags,
        "click": message.click,
        "actions": message.actions.iter().map(action).collect::<Vec<_>>(),
        "attachments": attachments.iter().map(file).collect::<Vec<_>>(),
    })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.add_filter("tojson", |value: minijinja::Value| {
        serde_json::to_string(&value)
            .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
    });
    environment
}

fn of_template(error: &minijinja::Error) -> OpError {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    OpError::invalid(format!("option `template`: {what}{line}")).hint(
        "known are version, key, title, message, priority, tags, click, actions and attachments; `{{ message | tojson }}` \
         makes a text of JSON of one",
    )
}

/// Whether a template can be used at all.
pub(crate) fn check_template(template: &str) -> Result<(), OpError> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "option `template`: it has more than {TEMPLATE_BYTES_MAX} bytes"
        )));
    }
    environment().template_from_str(template).map(drop).map_err(|error| of_template(&error))
}

fn webhook(url: &Url, channel: &Channel, letter: &Letter<'_>) -> Result<Draft, OpError> {
    let fields = fields(letter);
    let mut draft = Draft::json(url.clone(), &fields);
    if let Some(template) = &channel.template {
        let made = environment().render_str(template, &fields).map_err(|error| of_template(&error))?;
        draft.body = made.into_bytes();
        draft.set(CONTENT_TYPE, &channel.content_type)?;
    }
    Ok(draft)
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/> and
/// <https://developers.mattermost.com/integrate/webhooks/incoming/>: neither carries files.
fn slack(letter: &Letter<'_>, channel: Option<&str>, mattermost: bool) -> Json {
    let message = letter.message;
    // Slack's text has three characters that mean something; Mattermost reads Markdown.
    let escaped = |text: &str| match mattermost {
        true => text.to_owned(),
        false => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
    };
    let bold = if mattermost { "**" } else { "*" };
    let mut text = String::new();
    if !message.title.is_empty() {
        text.push_str(&format!("{bold}{}{bold}\n", escaped(&message.title)));
    }
    text.push_str(&escaped(&plain(letter, true, false)));
    let link = |label: &str, url: &str| match mattermost {
        true => format!("\n[{label}]({url})"),
        false => format!("\n<{url}|{}>", escaped(label)),
    };
    message.click.iter().for_each(|url| text.push_str(&link(url, url)));
    message.actions.iter().for_each(|action| text.push_str(&link(&action.label, &action.url)));
    if !message.tags.is_empty() {
        text.push_str(&format!("\n_{}_", escaped(&message.tags.join(", "))));
    }
    let mut json = json!({ "text": text.trim() });
    if let Some(channel) = channel {
        json["channel"] = channel.into();
    }
    json
}

/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>
fn discord(url: &Url, letter: &Letter<'_>) -> Result<Draft, OpError> {
    let message = letter.message;
    let mut text = String::new();
    if !message.title.is_empty() {
        text.push_str(&format!("**{}**\n", message.title));
    }
    text.push_str(&plain(letter, false, true));
    let text: String = text.trim().chars().take(DISCORD_CHARS_MAX).collect();
    // Nobody is called by what a log line happens to hold.
    let json = json!({ "content": text, "allowed_mentions": { "parse": [] } });
    if letter.attachments.is_empty() {
        return Ok(Draft::json(url.clone(), &json));
    }
    let mut parts =
        vec![Part { name: "payload_json".to_owned(), file: None, content: json.to_string().into_bytes() }];
    parts.extend(letter.attachments.iter().enumerate().map(|(at, file)| Part {
        name: format!("files[{at}]"),
        file: Some(file),
        content: file.content.clone(),
    }));
    multipart(url.clone(), letter.key, &parts)
}

/// <https://core.telegram.org/bots/api#sendmessage>; a message with a file is that file with a caption.
fn telegram(base: &Url, token: &str, chat: &str, letter: &Letter<'_>) -> Result<Draft, OpError> {
    let message = letter.message;
    let others = letter.attachments.get(1..).unwrap_or_default();
    let rest = Letter { attachments: others, ..*letter };
    let whole = Message { body: plain(&rest, true, false), ..message.clone() }.text();
    let quiet = message.priority.is_some_and(|priority| priority < Priority::Default);
    let buttons = message.actions.iter().map(|it| json!({ "text": it.label, "url": it.url }));
    let click = message.click.iter().map(|url| json!({ "text": "Open", "url": url }));
    let buttons: Vec<Json> = buttons.chain(click).map(|button| json!([button])).collect();
    let markup = json!({ "inline_keyboard": buttons });
    let bot = format!("bot{token}");
    let Some(first) = letter.attachments.first() else {
        let text: String = whole.chars().take(TELEGRAM_CHARS_MAX).collect();
        let mut json = json!({ "chat_id": chat, "text": text, "disable_notification": quiet });
        if !buttons.is_empty() {
            json["reply_markup"] = markup;
        }
        return Ok(Draft::json(Draft::join(base, &[&bot, "sendMessage"]), &json));
    };
    let caption: String = whole.chars().take(TELEGRAM_CAPTION_CHARS_MAX).collect();
    let field =
        |name: &str, text: String| Part { name: name.to_owned(), file: None, content: text.into_bytes() };
    let mut parts = vec![
        field("chat_id", chat.to_owned()),
        field("caption", caption),
        field("disable_notification", quiet.to_string()),
        Part { name: "document".to_owned(), file: Some(first), content: first.content.clone() },
    ];
    if !buttons.is_empty() {
        parts.push(field("reply_markup", markup.to_string()));
    }
    multipart(Draft::join(base, &[&bot, "sendDocument"]), letter.key, &parts)
}

/// A part of a form.
struct Part<'a> {
    name: String,
    file: Option<&'a Attachment>,
    content: Vec<u8>,
}

/// A body of `multipart/form-data` (RFC 7578). Its boundary is made of the message's key, which stands in no file.
fn multipart(url: Url, key: &str, parts: &[Part<'_>]) -> Result<Draft, OpError> {
    let quoted = |text: &str| text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    let boundary: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    let boundary = format!("hob-{boundary}");
    let mut body = Vec::new();
    for part in parts {
        let mut head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(&part.name));
        if let Some(file) = part.file {
            head.push_str(&format!("; filename=\"{}\"\r\nContent-Type: {}", quoted(&file.name), file.kind));
        }
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut draft = Draft { method: Method::POST, url, headers: HeaderMap::new(), body };
    draft.set(CONTENT_TYPE, &format!("multipart/form-data; boundary={boundary}"))?;
    Ok(draft)
}
