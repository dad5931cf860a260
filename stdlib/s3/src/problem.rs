//! What servers answer when they refuse, in words that name cause and cure
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).

use hob_model::{ErrorKind, OpError, Value};
use instant_xml::FromXml;

/// The answer of a server that refuses.
#[derive(Debug, Default, FromXml)]
#[xml(rename = "Error")]
struct Plain {
    #[xml(rename = "Code")]
    code: Option<String>,
    #[xml(rename = "Message")]
    message: Option<String>,
}

/// The error of an answer with this status and body. `place` is what was asked for.
pub(crate) fn refused(place: &str, status: u16, body: &str) -> OpError {
    let told: Plain = instant_xml::from_str(body).unwrap_or_default();
    let code = told.code.unwrap_or_default();
    let (kind, hint) = meaning(&code, status);
    let mut message = match told.message.filter(|it| !it.is_empty()) {
        Some(text) => format!("{place}: {}", text.trim_end_matches('.')),
        None if code.is_empty() => format!("{place}: the server answers {status}"),
        None => format!("{place}: the server refuses"),
    };
    if !code.is_empty() {
        message = format!("{message} ({code})");
    }
    let error = OpError::new(kind, message).detail("status", i64::from(status)).detail("code", code);
    error.maybe_hint(hint.map(str::to_owned))
}

/// The code of S3 in an error that [`refused`] made; empty where there is none.
pub(crate) fn code(error: &OpError) -> &str {
    match &error.details {
        Value::Map(details) => details.get("code").and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    }
}

/// What a code of S3 means for a script, and what to do about it. Answers to HEAD have none.
fn meaning(code: &str, status: u16) -> (ErrorKind, Option<&'static str>) {
    use ErrorKind::{Conflict, Denied, Failed, Invalid, NotFound, Unavailable};
    match code {
        "NoSuchBucket" => (NotFound, Some("make it with `storage::s3::ensure_bucket`, or mend its name")),
        "NoSuchKey" | "NoSuchUpload" => (NotFound, None),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            (Denied, Some("are `access_key` and `secret_key` those of this server?"))
        }
        "ExpiredToken" | "InvalidToken" => (Denied, Some("temporary keys end: fetch new ones")),
        "RequestTimeTooSkewed" => {
            (Denied, Some("the clocks of this machine and the server differ: does time synchronisation run?"))
        }
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException" => {
            (Invalid, Some("the bucket is in another region: give `region`"))
        }
        "BucketAlreadyExists" => (Conflict, Some("names of buckets are taken for all: choose another one")),
        "BucketNotEmpty" => (Conflict, Some("remove its objects first, also their old versions")),
        "InvalidBucketName" => (Invalid, Some("3 to 63 lower-case letters, digits, dots and hyphens")),
        "InvalidObjectState" => (Conflict, Some("it is in an archive: restore it there first")),
        "EntityTooLarge" | "QuotaExceeded" | "XMinioStorageFull" => {
            (Unavailable, Some("the server has no room for it"))
        }
        "SlowDown" | "ServiceUnavailable" | "RequestTimeout" => (Unavailable, None),
        _ => match status {
            301 | 307 => (Invalid, Some("the bucket is in another region: give `region`")),
            401 | 403 => (
                Denied,
                Some("are `access_key` and `secret_key` right, and may they do that with this bucket?"),
            ),
            404 => (NotFound, None),
            409 => (Conflict, None),
            412 => (Conflict, Some("it was replaced in the meantime")),
            400 => (Invalid, None),
            429 => (Unavailable, None),
            507 => (Unavailable, Some("the disk of the server is full")),
            500.. => (Unavailable, None),
            _ => (Failed, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_their_code_or_else_by_their_status() {
        let body = |code: &str| {
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>It is so.</Message>\
                 <Resource>/x</Resource><RequestId>1</RequestId></Error>"
            )
        };
        let cases = [
            (404, body("NoSuchBucket"), ErrorKind::NotFound, "ensure_bucket"),
            (403, body("SignatureDoesNotMatch"), ErrorKind::Denied, "secret_key"),
            (403, body("RequestTimeTooSkewed"), ErrorKind::Denied, "clocks"),
            (400, body("AuthorizationHeaderMalformed"), ErrorKind::Invalid, "region"),
            (503, body("SlowDown"), ErrorKind::Unavailable, ""),
            (403, String::new(), ErrorKind::Denied, "may they"),
            (507, "<html>no XML".to_owned(), ErrorKind::Unavailable, "full"),
            (418, String::new(), ErrorKind::Failed, ""),
        ];
        for (status, body, kind, hint) in cases {
            let error = refused("https://nas.lan/x", status, &body);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{error:?}");
            assert!(error.message.starts_with("https://nas.lan/x: "), "{error}");
            assert_eq!(error.message.contains("It is so ("), body.contains("Code"), "{error}");
        }
    }
}
