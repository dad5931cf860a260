//! Where a supply is.

use hob_model::OpError;

use crate::PORT;
use crate::port::Server;

const FORM: &str = "write NAME@HOST or NAME@HOST:PORT, as `rack@nas.lan`";

/// The host of a server where none is named.
const HERE: &str = "localhost";

/// The name and the server of `NAME[@HOST[:PORT]]`, as NUT writes it.
///
/// # Errors
/// `invalid`, with the form.
pub(crate) fn supply(text: &str) -> Result<(String, Server), OpError> {
    let (name, at) = text.split_once('@').unwrap_or((text, HERE));
    // What would end the line, or stand for several words, is no name.
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|it| it.is_ascii_graphic() && it != '"');
    if !is_name(name) {
        return Err(OpError::invalid(format!("{text:?} names no supply")).hint(FORM));
    }
    Ok((name.to_owned(), server(at)?))
}

/// The server at `HOST[:PORT]`; an address of version 6 with a port stands in brackets.
///
/// # Errors
/// `invalid`, with the form.
pub(crate) fn server(text: &str) -> Result<Server, OpError> {
    let wrong = || OpError::invalid(format!("{text:?} is no address of a server")).hint(FORM);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => {
            (host, port.parse().map_err(|_| wrong())?)
        }
        _ => (text, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host =
        !host.is_empty() && host.chars().all(|it| it.is_ascii_alphanumeric() || "-._:%".contains(it));
    if !is_host || port == 0 {
        return Err(wrong());
    }
    Ok(Server { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_nut_writes_them() {
        let read = |text: &str| supply(text).map(|(name, server)| (name, server.host, server.port));
        let found = |name: &str, host: &str, port| Ok((name.to_owned(), host.to_owned(), port));
        assert_eq!(read("rack"), found("rack", "localhost", 3493));
        assert_eq!(read("rack@nas.lan"), found("rack", "nas.lan", 3493));
        assert_eq!(read("rack@nas.lan:4000"), found("rack", "nas.lan", 4000));
        assert_eq!(read("rack@[fd00::1]:4000"), found("rack", "fd00::1", 4000));
        assert_eq!(read("rack@fd00::1"), found("rack", "fd00::1", 3493));
        for wrong in [
            "",
            "@nas",
            "a b@nas",
            "rack@",
            "rack@nas:",
            "rack@nas:0",
            "rack@nas:65536",
            "rack@a/b",
            "r\n@nas",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
