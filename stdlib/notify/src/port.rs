//! How mail and attached files are reached. Everything else goes over the port of `http`.

use std::io;
use std::path::{Path, PathBuf};

use std::pin::Pin;

use zeroize::Zeroizing;

/// What sending gives, some time.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// The world beside HTTP.
pub trait NotifyPort: Send + Sync {
    /// Hands a mail to its server. Dropping the future gives it up.
    fn mail(&self, mail: Mail) -> Sending<'_>;

    /// A file that goes with a message, if it has at most `bytes_max` bytes.
    ///
    /// # Errors
    /// What the system says; `FileTooLarge` for a longer one.
    fn file(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
}

/// How the connection to a mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// TLS, asked for on the plain connection (RFC 3207).
    StartTls,
    /// TLS from the start (RFC 8314).
    Tls,
}

/// A mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: Security,
    /// Name and password.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// Whether its certificate goes unchecked.
    pub insecure: bool,
    /// A file with further certificate authorities (PEM).
    pub ca: Option<PathBuf>,
}

/// A mail on its way.
#[derive(Clone)]
pub struct Mail {
    /// Who takes it.
    pub server: MailServer,
    /// The sender's address.
    pub from: String,
    /// The addresses it goes to.
    pub to: Vec<String>,
    /// The whole of it (RFC 5322).
    pub content: Vec<u8>,
}

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MailError {
    /// The innermost cause.
    pub message: String,
    /// Whether it may pass by itself.
    pub passing: bool,
    /// Whether it is certain that the mail was not taken.
    pub certain: bool,
}
