//! What only a network has: servers that speak something else, break off, or never end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use hob_model::ErrorKind;
use hob_std_ups::{LiveUps, UpsPort as _, port::Server};
use hob_testkit::Harness;

#[test]
fn servers_that_do_not_keep_to_the_protocol_are_refused() {
    let endless = format!("BEGIN LIST VAR rack\n{}", "VAR rack a \"b\"\n".repeat(5_000));
    for (answer, kind, says) in [
        ("ERR ACCESS-DENIED\n", ErrorKind::Denied, "does not answer this host"),
        ("ERR DATA-STALE\n", ErrorKind::Unavailable, "has not heard of `rack`"),
        ("ERR FEATURE-NOT-CONFIGURED\n", ErrorKind::Failed, "FEATURE-NOT-CONFIGURED"),
        ("220 mail.lan ESMTP\n", ErrorKind::Failed, "another protocol"),
        ("BEGIN LIST VAR rack\nVAR rack a \"b\"\n", ErrorKind::Unavailable, "cannot be asked"),
        ("BEGIN LIST VAR rack\nVAR rack a \"cut", ErrorKind::Unavailable, "a line has no end"),
        (&"x".repeat(20_000), ErrorKind::Unavailable, "a line has no end"),
        (&endless, ErrorKind::Failed, "lists more than"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let answer = answer.to_owned();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
            // It may have had enough before.
            let _ = stream.write_all(answer.as_bytes());
            // One goes on for as long as anybody reads.
            (question, answer.starts_with('x').then_some(stream))
        });
        let harness = Harness::new();
        let error = harness.runtime().block_on(LiveUps.variables(server, "rack".into())).unwrap_err();
        assert_eq!(thread.join().unwrap().0, "LIST VAR rack\n");
        assert!(error.kind == kind && error.message.contains(says), "{error:?}");
    }
}
