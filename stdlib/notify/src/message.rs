//! What a message may say.

use std::collections::BTreeMap;

use hob_model::{OpError, Value};
use hob_primitive::{Choice, Ctx, FromOptions, FromValue, Mismatch, Nested, OptionMap, Options};

use crate::port::NotifyPort;
use crate::{ACTIONS_MAX, ATTACHMENTS_BYTES_MAX, ATTACHMENTS_MAX, BODY_BYTES_MAX, TAGS_MAX, TITLE_CHARS_MAX};

/// How much a message wants to be seen; the five steps of ntfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Choice)]
pub(crate) enum Priority {
    /// Nobody is disturbed.
    Min,
    /// No sound.
    Low,
    /// The usual.
    Default,
    /// Seen at once.
    High,
    /// Seen at once, at night too.
    Urgent,
}

/// What alerts call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(crate) enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody must look at it now.
    Critical,
}

impl Severity {
    fn priority(self) -> Priority {
        match self {
            Self::Info => Priority::Default,
            Self::Warning => Priority::High,
            Self::Critical => Priority::Urgent,
        }
    }
}

/// A list of maps with known keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maps<T>(pub(crate) Vec<T>);

impl<T: FromOptions> FromValue for Maps<T> {
    const KIND: &'static str = "array of maps";

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let Value::Array(items) = value else { return Err(Mismatch::of::<Self>(&value)) };
        items.into_iter().map(Nested::read).collect::<Result<_, _>>().map(Self)
    }
}

/// Something that can be done from the notification.
#[derive(Clone, Debug, PartialEq, Eq, Options)]
pub(crate) struct Action {
    /// What stands on the button.
    pub(crate) label: String,
    /// The address it opens.
    pub(crate) url: String,
    /// Whether it is asked for with POST, without opening a browser, where the service can.
    #[option(default = "false")]
    pub(crate) post: bool,
}

/// An approval that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Options)]
pub(crate) struct Approval {
    /// The run.
    pub(crate) run: String,
    /// Where in it.
    pub(crate) position: String,
}

/// A message as it is written.
#[derive(Clone, Debug, Options)]
pub(crate) struct MessageOptions {
    /// The text.
    pub(crate) body: Option<String>,
    /// One line above it.
    pub(crate) title: Option<String>,
    /// `"min"`, `"low"`, `"default"`, `"high"` or `"urgent"`, where the service knows such steps.
    pub(crate) priority: Option<Priority>,
    /// `"info"`, `"warning"` or `"critical"`: the priorities default, high and urgent.
    pub(crate) severity: Option<Severity>,
    /// Words to sort by; ntfy shows those that name emojis as such.
    pub(crate) tags: Option<Vec<String>>,
    /// The address that opens when the message is touched.
    pub(crate) click: Option<String>,
    /// Up to three buttons: `#{ label, url, post }`.
    pub(crate) actions: Option<Maps<Action>>,
    /// Paths of files to go with it, up to ten and 20 MiB; services without attachments name them.
    pub(crate) attach: Option<Vec<String>>,
    /// `#{ run, position }` of an approval that is waited for: buttons with links that answer it, once.
    pub(crate) approve: Option<Nested<Approval>>,
}

/// A message that is ready to be sent, but for what its channel adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) priority: Option<Priority>,
    pub(crate) tags: Vec<String>,
    pub(crate) click: Option<String>,
    pub(crate) actions: Vec<Action>,
    pub(crate) attach: Vec<String>,
    pub(crate) approve: Option<Approval>,
}

/// A file that goes with a message.
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) content: Vec<u8>,
}

/// `text` with at most so many bytes, and a mark where it was cut.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max.saturating_sub(MARK.len())).rev().find(|at| text.is_char_boundary(*at));
    format!("{}{MARK}", &text[..end.unwrap_or(0)])
}

impl Message {
    /// What was written, with the text that stood before the options.
    pub(crate) fn read(text: Option<String>, options: MessageOptions) -> Result<Self, OpError> {
        let body = match (text, options.body) {
            (Some(_), Some(_)) => {
                return Err(OpError::invalid("the text is given twice: before the options and as `body`"));
            }
            (text, body) => text.or(body).unwrap_or_default(),
        };
        let title = options.title.unwrap_or_default().replace(['\r', '\n'], " ");
        if body.trim().is_empty() && title.trim().is_empty() {
            return Err(OpError::invalid("a message has a `title` or a `body`")
                .hint("write notify::send(\"ops\", \"the text\") or #{ title: \"…\", body: \"…\" }"));
        }
        if options.priority.is_some() && options.severity.is_some() {
            return Err(OpError::invalid("give `priority` or `severity`, not both"));
        }
        let tags = options.tags.unwrap_or_default();
        let actions = options.actions.map(|Maps(actions)| actions).unwrap_or_default();
        let attach = options.attach.unwrap_or_default();
        let counts = [
            ("tags", tags.len(), TAGS_MAX),
            ("actions", actions.len(), ACTIONS_MAX),
            ("attach", attach.len(), ATTACHMENTS_MAX),
        ];
        if let Some((key, count, max)) = counts.into_iter().find(|(_, count, max)| count > max) {
            return Err(OpError::invalid(format!("option `{key}`: {count} are more than {max}")));
        }
        if tags.iter().any(|tag| tag.is_empty() || tag.contains([',', '\r', '\n'])) {
            return Err(OpError::invalid("option `tags`: a tag is a word without commas and line breaks"));
        }
        let urls = actions.iter().map(|action| &action.url).chain(&options.click);
        for url in urls {
            url::Url::parse(url).map_err(|error| {
                OpError::invalid(format!("`{}` is no address: {error}", url.escape_debug()))
            })?;
        }
        Ok(Self {
            title: cut(&title, TITLE_CHARS_MAX),
            body: cut(&body, BODY_BYTES_MAX),
            priority: options.priority.or_else(|| options.severity.map(Severity::priority)),
            tags,
            click: options.click,
            actions,
            attach,
            approve: options.approve.map(|Nested(approve)| approve),
        })
    }

    /// Reads [`Message::to_value`].
    pub(crate) fn from_value(map: BTreeMap<String, Value>) -> Result<Self, OpError> {
        Self::read(None, OptionMap::new(map).read()?)
    }

    /// The message as a map, such as [`Message::from_value`] reads.
    pub(crate) fn to_value(&self) -> Value {
        let texts = |list: &[String]| Value::from(list.to_vec());
        let action = |action: &Action| {
            Value::map([
                ("label", Value::from(action.label.as_str())),
                ("url", action.url.as_str().into()),
                ("post", Value::Bool(action.post)),
            ])
        };
        let mut fields =
            vec![("title", Value::from(self.title.as_str())), ("body", self.body.as_str().into())];
        fields.extend(self.priority.map(|priority| ("priority", Value::from(priority.as_str()))));
        fields.extend(self.click.as_deref().map(|click| ("click", Value::from(click))));
        if !self.tags.is_empty() {
            fields.push(("tags", texts(&self.tags)));
        }
        if !self.actions.is_empty() {
            fields.push(("actions", Value::Array(self.actions.iter().map(action).collect())));
        }
        if !self.attach.is_empty() {
            fields.push(("attach", texts(&self.attach)));
        }
        if let Some(approve) = &self.approve {
            let (run, position) = (approve.run.as_str(), approve.position.as_str());
            fields.push(("approve", Value::map([("run", Value::from(run)), ("position", position.into())])));
        }
        Value::map(fields)
    }

    /// Gives the paths of its files from the root on, so that they mean the same wherever they are read.
    pub(crate) fn settle_paths(&mut self, cx: &Ctx) -> Result<(), OpError> {
        for path in &mut self.attach {
            *path = cx.resolve(path).display().to_string();
            cx.permit(&format!("files.read:{path}"))?;
        }
        Ok(())
    }

    /// Its files. One that is gone by now is named in the text instead: the message must not be lost with it.
    pub(crate) fn attachments(&mut self, port: &dyn NotifyPort) -> Vec<Attachment> {
        let mut left = ATTACHMENTS_BYTES_MAX;
        let mut files = Vec::new();
        for path in std::mem::take(&mut self.attach) {
            let path = std::path::PathBuf::from(path);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match port.file(&path, left) {
                Ok(content) => {
                    left = left.saturating_sub(content.len() as u64);
                    files.push(Attachment { kind: media_type(&name), name, content });
                }
                Err(error) => self.note(&format!("{name} could not be attached: {error}")),
            }
        }
        files
    }

    /// Adds a line to the text.
    pub(crate) fn note(&mut self, line: &str) {
        if !self.body.is_empty() {
            self.body.push_str("\n\n");
        }
        self.body.push('(');
        self.body.push_str(line);
        self.body.push(')');
    }

    /// The title and the text in one.
    pub(crate) fn text(&self) -> String {
        match (self.title.is_empty(), self.body.is_empty()) {
            (true, _) => self.body.clone(),
            (_, true) => self.title.clone(),
            _ => format!("{}\n{}", self.title, self.body),
        }
    }
}

/// The media type that a file's name suggests.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, cut_to) in
            [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("äöü", 5, "ä…"), ("äöü", 2, "…")]
        {
            assert_eq!(cut(text, max), cut_to, "{text} {max}");
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let action = Action { label: "Open".to_owned(), url: "https://a.example/".to_owned(), post: true };
        let message = Message {
            title: "Disk".to_owned(),
            body: "full".to_owned(),
            priority: Some(Priority::Urgent),
            tags: vec!["a".to_owned(), "b".to_owned()],
            click: Some("https://b.example/".to_owned()),
            actions: vec![action],
            attach: vec!["/tmp/x.png".to_owned()],
            approve: Some(Approval { run: "r".to_owned(), position: "3".to_owned() }),
        };
        let Value::Map(map) = message.to_value() else { panic!("it is a map") };
        assert_eq!(Message::from_value(map).unwrap(), message);
    }
}
