//! SMTP through lettre, and files from the disk.
#![allow(clippy::disallowed_methods)] // this is the adapter for mail servers and for attached files

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::port::{Mail, MailError, MailServer, NotifyPort, Security, Sending};

/// How long the mail server may take for each of its answers.
const ANSWER_SECONDS_MAX: u64 = 30;

/// The largest file with certificate authorities, in bytes.
const CA_BYTES_MAX: u64 = 4 << 20;

/// The network and the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveNotify;

impl NotifyPort for LiveNotify {
    fn mail(&self, mail: Mail) -> Sending<'_> {
        Box::pin(async move {
            let transport = transport(&mail.server)?;
            let address = |text: &String| text.parse().map_err(|error| unusable(format!("{text}: {error}")));
            let to = mail.to.iter().map(address).collect::<Result<_, _>>()?;
            let envelope = Envelope::new(Some(address(&mail.from)?), to);
            let envelope = envelope.map_err(|error| unusable(error.to_string()))?;
            transport.send_raw(&envelope, &mail.content).await.map(drop).map_err(|error| failed(&error))
        })
    }

    fn file(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
        }
        Ok(content)
    }
}

fn unusable(message: String) -> MailError {
    MailError { message, passing: false, certain: true }
}

fn transport(server: &MailServer) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailError> {
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)));
    if server.security != Security::Plain {
        let parameters = tls(server)?;
        builder = builder.tls(match server.security {
            Security::Tls => Tls::Wrapper(parameters),
            Security::StartTls | Security::Plain => Tls::Required(parameters),
        });
    }
    if let Some((user, password)) = &server.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.to_string()));
    }
    Ok(builder.build())
}

fn tls(server: &MailServer) -> Result<TlsParameters, MailError> {
    let mut parameters = TlsParameters::builder(server.host.clone());
    if server.insecure {
        parameters = parameters.dangerous_accept_invalid_certs(true);
    }
    if let Some(path) = &server.ca {
        let bad = |why: String| unusable(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|error| bad(error.to_string()))?;
        let mut pem = Vec::new();
        file.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(|error| bad(error.to_string()))?;
        let authority =
            Certificate::from_pem(&pem).map_err(|_| bad("it holds no certificate (PEM)".to_owned()))?;
        parameters = parameters.add_root_certificate(authority);
    }
    parameters.build().map_err(|error| unusable(error.to_string()))
}

/// What a failure means. Whoever answered with a code took nothing (RFC 5321, section 4.2.1); where the connection broke, only
/// one that never was is certain.
fn failed(error: &lettre::transport::smtp::Error) -> MailError {
    let mut cause: &dyn std::error::Error = error;
    let (mut never_connected, mut distrusted) = (false, error.is_tls());
    while let Some(inner) = cause.source() {
        cause = inner;
        let io = cause.downcast_ref::<io::Error>();
        // rustls hands its errors on as I/O errors of this kind.
        distrusted |= io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
        never_connected |= io.is_some_and(|error| {
            use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
            let unknown_host = error.to_string().starts_with("failed to lookup address");
            unknown_host || matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
        });
    }
    let answered = error.is_permanent() || error.is_transient();
    let (inner, outer) = (cause.to_string(), error.to_string());
    let message = if outer.contains(&inner) { outer } else { format!("{outer}: {inner}") };
    MailError {
        message,
        passing: !error.is_permanent() && !distrusted && !error.is_client(),
        certain: answered || distrusted || error.is_client() || never_connected,
    }
}
