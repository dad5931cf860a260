//! Where a repository is, as scripts write it.

use std::fmt;
use std::path::PathBuf;

use hob_model::OpError;
use hob_std_s3::Address;
use url::Url;

/// Where a repository is. Its text has no password in it, so that it may be recorded and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Local(PathBuf),
    /// A server that speaks restic's REST protocol.
    Rest(Url),
    /// A bucket of S3.
    S3(Address),
    /// A remote of rclone, `REMOTE:PATH`.
    Rclone(String),
}

impl Location {
    /// Reads restic's notation: a path, `rest:URL`, `s3:URL` or `rclone:REMOTE:PATH`. `resolve` makes a path absolute.
    ///
    /// # Errors
    /// `invalid`, with the cure, for what is no location, what this version cannot reach, and addresses with a password.
    pub fn parse(text: &str, resolve: impl Fn(&str) -> PathBuf) -> Result<Self, OpError> {
        let absent = |what: &str| {
            Err(OpError::invalid(format!("a repository by {what} is not supported by this version of hob"))
                .hint("use a path, `rest:https://…`, `s3:https://…`, or `rclone:REMOTE:PATH`, which reaches all that rclone does"))
        };
        match text.split_once(':') {
            Some(("rest", address)) => rest(address).map(Self::Rest),
            Some(("s3", address)) => s3(address).map(Self::S3),
            Some(("rclone", remote)) if remote.contains(':') && !remote.starts_with('-') => {
                Ok(Self::Rclone(remote.to_owned()))
            }
            Some(("rclone", remote)) => Err(OpError::invalid(format!("`rclone:{remote}` names no remote"))
                .hint("write `rclone:REMOTE:PATH`; `rclone listremotes` shows those there are")),
            Some(("http" | "https", _)) => {
                Err(OpError::invalid("an address alone does not say how the server is spoken to")
                    .hint(format!("write `rest:{text}` for a server that speaks restic's protocol")))
            }
            Some((scheme @ ("sftp" | "b2" | "azure" | "gs" | "swift"), _)) => absent(scheme),
            Some(("local", path)) => Ok(Self::Local(resolve(path))),
            _ if text.is_empty() || text.contains('\0') => {
                Err(OpError::invalid("a repository is a path or an address, and not empty"))
            }
            _ => Ok(Self::Local(resolve(text))),
        }
    }
}

fn rest(address: &str) -> Result<Url, OpError> {
    let mut url = Url::parse(address)
        .map_err(|error| OpError::invalid(format!("`rest:{address}` is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OpError::invalid(format!("`rest:{address}`: expected http or https")));
    }
    if url.password().is_some() {
        return Err(OpError::invalid("the address of the repository has a password in it").hint(
            "give it as a secret: #{ repository: \"rest:https://…\", user: \"…\", secret: secrets::get(\"…\") }",
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn s3(text: &str) -> Result<Address, OpError> {
    let address = Address::parse(text)?;
    if address.bucket.is_empty() {
        return Err(OpError::invalid(format!("`s3:{text}` names no bucket")).hint(
            "write `s3:https://minio.lan:9000/BUCKET`, and a path in it where others share the bucket",
        ));
    }
    Ok(address)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Rest(url) => write!(f, "rest:{url}"),
            Self::S3(address) => write!(f, "s3:{address}"),
            Self::Rclone(remote) => write!(f, "rclone:{remote}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_as_restic_writes_them() {
        let cases = [
            ("/mnt/nas/restic", "/mnt/nas/restic"),
            ("backups", "/home/backups"),
            ("local:/a:b", "/a:b"),
            ("/with:colon", "/with:colon"),
            ("rest:https://nas.lan:8000/house", "rest:https://nas.lan:8000/house/"),
            ("rest:http://127.0.0.1:8000", "rest:http://127.0.0.1:8000/"),
            ("s3:https://minio.lan:9000/house/", "s3:https://minio.lan:9000/house"),
            ("s3:s3.eu-west-1.amazonaws.com/house/a", "s3:https://s3.eu-west-1.amazonaws.com/house/a"),
            ("rclone:b2:bucket/path", "rclone:b2:bucket/path"),
        ];
        for (text, expected) in cases {
            let location = Location::parse(text, |path| PathBuf::from("/home").join(path)).unwrap();
            assert_eq!(location.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_cure() {
        let cases = [
            ("", "not empty"),
            ("s3:https://minio.lan", "names no bucket"),
            ("s3:https://me:hunter2@minio.lan/x", "login in it"),
            ("sftp:nas:/x", "sftp is not supported"),
            ("https://nas.lan", "does not say how"),
            ("rest:nas.lan", "no address"),
            ("rest:ftp://nas.lan", "expected http"),
            ("rest:https://me:hunter2@nas.lan", "password in it"),
            ("rclone:bucket", "names no remote"),
            ("rclone:--config:x", "names no remote"),
        ];
        for (text, expected) in cases {
            let error = Location::parse(text, |path| PathBuf::from("/home").join(path)).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
