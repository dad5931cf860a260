//! A message as mail (RFC 5322), through lettre.

use std::time::{Duration, SystemTime};

use hob_model::{OpError, Timestamp};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as Part, Mailbox, MultiPart, SinglePart};

use crate::message::{Action, Priority};
use crate::port::{Mail, MailServer};
use crate::request::Letter;

/// The mail that a letter is. Its `Message-ID` is made of its key: whoever gets it twice can tell.
pub(crate) fn mail(
    server: &MailServer,
    from: &str,
    to: &[String],
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<Mail, OpError> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| OpError::invalid(format!("`{text}` is no address for mail: {error}")))
    };
    let sender = mailbox(from)?;
    let message = letter.message;
    let subject = match message.title.is_empty() {
        false => message.title.clone(),
        true => message.body.lines().next().unwrap_or_default().to_owned(),
    };
    let since_epoch = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
    let domain = sender.email.domain().to_owned();
    let mut builder = lettre::Message::builder()
        .message_id(Some(message_id(letter.key, &domain)))
        .date(SystemTime::UNIX_EPOCH + since_epoch)
        .from(sender.clone())
        .subject(subject);
    let mut addresses = Vec::new();
    for address in to {
        let recipient = mailbox(address)?;
        addresses.push(recipient.email.to_string());
        builder = builder.to(recipient);
    }
    // What people call X-Priority, and what RFC 3834 asks of mail that nobody wrote.
    let urgency = match message.priority.unwrap_or(Priority::Default) {
        Priority::Urgent => "1 (Highest)",
        Priority::High => "2 (High)",
        Priority::Default => "3 (Normal)",
        Priority::Low => "4 (Low)",
        Priority::Min => "5 (Lowest)",
    };
    for (name, value) in [("X-Priority", urgency), ("Auto-Submitted", "auto-generated")] {
        builder =
            builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
    }
    let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text(letter));
    let built = match letter.attachments {
        [] => builder.singlepart(text),
        files => builder.multipart(files.iter().fold(MultiPart::mixed().singlepart(text), |all, file| {
            let octets = || ContentType::parse("application/octet-stream").expect("it is a media type");
            let kind = ContentType::parse(file.kind).unwrap_or_else(|_| octets());
            all.singlepart(Part::new(file.name.clone()).body(file.content.clone(), kind))
        })),
    };
    let built = built.map_err(|error| OpError::invalid(format!("no mail can be made of it: {error}")))?;
    let from = sender.email.to_string();
    Ok(Mail { server: server.clone(), from, to: addresses, content: built.formatted() })
}

fn message_id(key: &str, domain: &str) -> String {
    let safe: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("<{safe}.hob@{domain}>")
}

fn text(letter: &Letter<'_>) -> String {
    let message = letter.message;
    let mut text = message.body.clone();
    let links = message.click.iter().cloned();
    let actions = message.actions.iter().map(|Action { label, url, .. }| format!("{label}: {url}"));
    for line in links.chain(actions) {
        text.push_str("\r\n\r\n");
        text.push_str(&line);
    }
    if !message.tags.is_empty() {
        text.push_str(&format!("\r\n\r\n-- \r\n{}", message.tags.join(", ")));
    }
    text
}
