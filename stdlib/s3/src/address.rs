//! Where a bucket is, as people write it.

use std::fmt;

use hob_model::OpError;
use url::Url;

/// The hosts of Amazon, whose names tell the region.
const AMAZON: &str = ".amazonaws.com";

/// The region of servers that have none: what `MinIO` and most others answer to.
const REGION: &str = "us-east-1";

/// Where a bucket is: `https://minio.lan:9000/photos`. Its text has no password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The server.
    pub endpoint: Url,
    /// The bucket; empty for the server alone.
    pub bucket: String,
    /// The beginning of all keys that are meant, with a `/` at its end; empty for all of them.
    pub prefix: String,
}

impl Address {
    /// Reads `https://HOST/BUCKET/PREFIX`, and restic's notation of it: `s3:` before it, and `https` where no scheme is
    /// named.
    ///
    /// ```
    /// let it = hob_std_s3::Address::parse("s3:s3.eu-central-1.amazonaws.com/house/restic").unwrap();
    /// assert_eq!((it.bucket.as_str(), it.prefix.as_str(), it.region()), ("house", "restic/", "eu-central-1"));
    /// ```
    ///
    /// # Errors
    /// `invalid`, with the cure.
    pub fn parse(text: &str) -> Result<Self, OpError> {
        let bare = text.strip_prefix("s3:").unwrap_or(text);
        let whole = if bare.contains("://") { bare.to_owned() } else { format!("https://{bare}") };
        let refuse = |why: &str| OpError::invalid(format!("`{text}` is no bucket: {why}"));
        let example = "write it as https://minio.lan:9000/BUCKET";
        let url = Url::parse(&whole).map_err(|error| refuse(&error.to_string()).hint(example))?;
        if url.password().is_some() || !url.username().is_empty() {
            // Not `refuse`: the text has the password.
            return Err(OpError::invalid("the address of the bucket has a login in it")
                .hint("give it apart, as an access key and a secret key"));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("expected http:// or https:// and a host").hint(example));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a `?` or a `#`").hint(example));
        }
        let path = url.path().trim_matches('/');
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)) {
            return Err(refuse("names of buckets have letters, digits, dots and hyphens").hint(example));
        }
        if !prefix.is_empty() {
            check_key(prefix)?;
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let bucket = bucket.to_owned();
        let mut endpoint = url;
        endpoint.set_path("/");
        Ok(Self { endpoint, bucket, prefix })
    }

    /// The region that the host names, or what servers without regions answer to.
    #[must_use]
    pub fn region(&self) -> &str {
        // `s3.REGION.amazonaws.com`, `s3.dualstack.REGION.amazonaws.com`; `s3.amazonaws.com` is in the first one of all.
        let host = self.endpoint.host_str().unwrap_or_default();
        let region = host.strip_suffix(AMAZON).and_then(|host| host.rsplit_once('.')).map(|it| it.1);
        region.unwrap_or(REGION)
    }

    /// Whether the name of the bucket is part of the host: Amazon wants it, other servers rarely know it.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        let host = self.endpoint.host_str().unwrap_or_default();
        // A certificate for `*.s3…` does not hold for names with dots.
        host.ends_with(AMAZON) && !self.bucket.contains('.')
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.endpoint, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix.trim_end_matches('/')) }
    }
}

/// The longest key, in bytes, that S3 takes.
const KEY_BYTES_MAX: usize = 1024;

/// Whether an object can have this key. Addresses resolve `.` and `..`, so that one with these would name another object.
///
/// # Errors
/// `invalid`, with the cure.
pub fn check_key(key: &str) -> Result<(), OpError> {
    let refuse = |why: &str| Err(OpError::invalid(format!("`{key}` is no key of an object: {why}")));
    if key.is_empty() {
        return refuse("it is empty");
    }
    if key.len() > KEY_BYTES_MAX {
        return refuse("it is longer than 1024 bytes");
    }
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return refuse("it has `.` or `..` in it, which addresses take for directories");
    }
    if key.starts_with('/') {
        return refuse("it begins with `/`");
    }
    if key.chars().any(char::is_control) {
        return refuse("it has control characters in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_server_bucket_and_prefix() {
        let cases = [
            ("https://minio.lan:9000/photos", "https://minio.lan:9000/photos", "us-east-1", false),
            ("http://127.0.0.1:9000/photos/", "http://127.0.0.1:9000/photos", "us-east-1", false),
            ("s3:https://minio.lan/house/a/b/", "https://minio.lan/house/a/b", "us-east-1", false),
            ("s3:s3.amazonaws.com/house", "https://s3.amazonaws.com/house", "us-east-1", true),
            ("s3.eu-west-1.amazonaws.com/a.b", "https://s3.eu-west-1.amazonaws.com/a.b", "eu-west-1", false),
            ("https://garage.lan", "https://garage.lan/", "us-east-1", false),
        ];
        for (text, shown, region, is_virtual) in cases {
            let it = Address::parse(text).unwrap();
            assert_eq!((it.to_string().as_str(), it.region(), it.is_virtual()), (shown, region, is_virtual));
        }
    }

    #[test]
    fn what_is_no_bucket_is_refused_with_the_cure() {
        let cases = [
            ("", "is no bucket"),
            ("ftp://minio.lan/x", "expected http"),
            ("https://me:hunter2@minio.lan/x", "login in it"),
            ("https://minio.lan/x?versioning", "`?`"),
            ("https://minio.lan/a b", "names of buckets"),
        ];
        for (text, expected) in cases {
            let error = Address::parse(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        for key in ["", "/etc", "a/../b", "..", "a\nb", &"x".repeat(2000)] {
            check_key(key).unwrap_err();
        }
        for key in ["a", "a/b", "a//b", "ä ö?#%", "...", "a./b"] {
            check_key(key).unwrap();
        }
    }
}
