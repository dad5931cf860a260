//! Servers over the network.

use hob_model::OpError;
use hob_primitive::BoxFuture;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ANSWER_WITHIN;
use crate::port::{Server, UpsPort, Variables};
use crate::protocol::{LINE_BYTES_MAX, LINES_MAX, refused, words};

/// The adapter that uses the network. Each question has a connection of its own, as a server counts those that stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveUps;

impl UpsPort for LiveUps {
    fn list(&self, server: Server) -> BoxFuture<Vec<(String, String)>> {
        Box::pin(async move {
            let lines = ask(&server, &["UPS"], "all").await?;
            Ok(pairs(lines).collect())
        })
    }

    fn variables(&self, server: Server, name: String) -> BoxFuture<Variables> {
        Box::pin(async move {
            let lines = ask(&server, &["VAR", &name], &name).await?;
            Ok(pairs(lines).collect())
        })
    }
}

/// The lines that have a name and a value.
fn pairs(lines: Vec<Vec<String>>) -> impl Iterator<Item = (String, String)> {
    let pair = |line: Vec<String>| <[String; 2]>::try_from(line).ok().map(Into::into);
    lines.into_iter().filter_map(pair)
}

/// What a server lists of `what`: the words of each line behind those that repeat the question.
async fn ask(server: &Server, what: &[&str], about: &str) -> Result<Vec<Vec<String>>, OpError> {
    let place = || format!("the server {} port {}", server.host, server.port);
    let silent = |_| OpError::unavailable(format!("{} does not answer within 5 s", place()));
    let lost = |error: std::io::Error| {
        OpError::unavailable(format!("{} cannot be asked: {error}", place()))
            .hint("`upsd` of NUT is to run there, and to listen for this host")
    };
    let connecting = TcpStream::connect((server.host.as_str(), server.port));
    let stream = timeout(ANSWER_WITHIN, connecting).await.map_err(silent)?.map_err(lost)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let question = format!("LIST {}\n", what.join(" "));
    timeout(ANSWER_WITHIN, write.write_all(question.as_bytes())).await.map_err(silent)?.map_err(lost)?;
    let mut found = Vec::new();
    for _ in 0..LINES_MAX {
        let line = timeout(ANSWER_WITHIN, line(&mut read)).await.map_err(silent)?.map_err(lost)?;
        let mut words = words(&line);
        match words.first().map(String::as_str) {
            Some("BEGIN") => {}
            Some("END") => return Ok(found),
            Some("ERR") => return Err(refused(words.get(1).map_or("", String::as_str), about)),
            Some(first) if first == what[0] => found.push(words.split_off(what.len().min(words.len()))),
            _ => return Err(OpError::failed(format!("{} speaks another protocol: {line:?}", place()))),
        }
    }
    Err(OpError::failed(format!("{} lists more than {LINES_MAX} things", place())))
}

/// The next line, without its end.
async fn line(read: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    read.take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut bytes).await?;
    match bytes.pop() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Some(_) => Err(std::io::Error::other("a line has no end")),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
