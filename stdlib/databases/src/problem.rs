//! What client programs complain about, in words that name cause and cure.

use hob_model::{ErrorKind, OpError};
use hob_primitive::{ProgramEnd, Room};

/// Words of a complaint, the kind of error they mean, and what to do. The first that fit count.
const KNOWN: [(&[&str], ErrorKind, &str); 10] = [
    (
        &["server version mismatch", "unsupported version", "aborting because of server version"],
        ErrorKind::Conflict,
        "the client programs are older than the server: install those of its version, or name the server by its \
         container, whose own programs are taken",
    ),
    (
        &[
            "password authentication failed",
            "no password supplied",
            "Access denied for user",
            "NOAUTH",
            "WRONGPASS",
        ],
        ErrorKind::Denied,
        "give `user` and `password: secrets::get(\"…\")` of the database",
    ),
    (
        &["Peer authentication failed"],
        ErrorKind::Denied,
        "the socket knows people by their users of the system: give `run_as`, or `host: \"localhost\"` with a `password`",
    ),
    (
        &["permission denied", "must be superuser", "command denied to user"],
        ErrorKind::Denied,
        "give a `user` who may do this",
    ),
    (
        &["No space left on device", "could not extend file"],
        ErrorKind::Unavailable,
        "the disk is full: free some space and try again",
    ),
    (&["does not exist", "Unknown database"], ErrorKind::NotFound, ""),
    (&["is being accessed by other users"], ErrorKind::Conflict, "stop what uses the database first"),
    (&["already exists"], ErrorKind::Conflict, ""),
    (
        &[
            "Connection refused",
            "could not connect",
            "Could not connect",
            "Can't connect",
            "could not translate host name",
            "the database system is starting up",
            "the database system is shutting down",
            "timeout expired",
            "No such file or directory\n\tIs the server running",
            "Name or service not known",
            "LOADING",
        ],
        ErrorKind::Unavailable,
        "look whether the server runs and listens there",
    ),
    (
        &["read-only transaction"],
        ErrorKind::Denied,
        "a query only reads: change things by programs of your own",
    ),
];

/// What a program that did not do well means for `what`.
pub(crate) fn of(what: &str, program: &str, room: &Room, end: &ProgramEnd) -> OpError {
    if matches!(end.code, Some(126 | 127)) {
        return missing(program, room);
    }
    let known = KNOWN.iter().find(|(words, ..)| words.iter().any(|it| end.complaint.contains(it)));
    let text = format!("{what}: {program} ended with {}: {}", end.told(), first_lines(&end.complaint));
    match known {
        Some((_, kind, hint)) => {
            OpError::new(*kind, text).maybe_hint((!hint.is_empty()).then(|| (*hint).to_owned()))
        }
        None => OpError::failed(text),
    }
}

/// There is no such program where it is to run.
pub(crate) fn missing(program: &str, room: &Room) -> OpError {
    let package = match program {
        "redis-cli" => "redis-tools",
        it if it.starts_with("maria") || it.starts_with("mysql") => "mariadb-client",
        _ => "postgresql-client",
    };
    match room {
        Room::Host => OpError::not_found(format!("there is no program {program} on this machine"))
            .hint(format!("install it: Debian's package is `{package}`")),
        Room::Container(name) => {
            OpError::not_found(format!("there is no program {program} in container {name}"))
                .hint("name the server by `host` and `port`, and install the programs on this machine")
        }
    }
    .nothing_happened()
}

/// Lines of a complaint that people read.
fn first_lines(complaint: &str) -> String {
    const LINES_MAX: usize = 6;
    complaint
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .collect::<Vec<_>>()
        .join("; ")
}
