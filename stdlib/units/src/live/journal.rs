//! Reading the journal with `journalctl`.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::disk::Disk;
use crate::journal::{ANSWER_BYTES_MAX, JournalEntry, JournalQuery};
use crate::port::{Fault, FaultKind, Scope};

/// How long to wait until journald has written what it was sent.
const SYNC_WAIT: Duration = Duration::from_secs(2);

/// The most that is shown of what `journalctl` complains about.
const COMPLAINT_CHARS_MAX: usize = 500;

impl Disk {
    fn journalctl(&self, query: &JournalQuery) -> Command {
        let mut command = Command::new("journalctl");
        command.args(query.arguments(self.scope == Scope::User));
        if self.root != Path::new("/") {
            // Another system's journal, where that system keeps it while it runs.
            command.arg(format!("--directory={}", self.outside("run/log/journal").display()));
        }
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) async fn journal(
        &self,
        query: &JournalQuery,
        follow: Option<Duration>,
    ) -> Result<Vec<JournalEntry>, Fault> {
        match follow {
            Some(span) => self.follow(query, span).await,
            None => {
                self.synchronize().await;
                self.read_entries(query).await
            }
        }
    }

    async fn read_entries(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, Fault> {
        let mut child = self.journalctl(query).spawn().map_err(|error| spawn_fault(&error))?;
        let (mut answer, mut complaint) = (String::new(), String::new());
        let stdout = child.stdout.take().map(|stdout| BufReader::new(stdout.take(ANSWER_BYTES_MAX)));
        let mut stderr = child.stderr.take();
        let read_out = async {
            let mut bytes = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut bytes).await?;
            }
            answer = String::from_utf8_lossy(&bytes).into_owned();
            io::Result::Ok(())
        };
        let read_err = async {
            if let Some(stderr) = &mut stderr {
                stderr.read_to_string(&mut complaint).await?;
            }
            io::Result::Ok(())
        };
        tokio::try_join!(read_out, read_err).map_err(|error| spawn_fault(&error))?;
        let status = child.wait().await.map_err(|error| spawn_fault(&error))?;
        let mut entries: Vec<JournalEntry> = answer.lines().filter_map(JournalEntry::parse).collect();
        // It ends with 1 when nothing matches a pattern, and says nothing then.
        if !status.success() && entries.is_empty() && !complaint.trim().is_empty() {
            return Err(complained(&complaint));
        }
        // With a pattern the newest come first. Several may have the same time.
        if query.grep.is_some() {
            entries.reverse();
        }
        entries.sort_by_key(|entry| entry.time);
        Ok(entries)
    }

    /// The entries that come from now on, until there are enough or the time has passed.
    async fn follow(&self, query: &JournalQuery, span: Duration) -> Result<Vec<JournalEntry>, Fault> {
        let wanted = usize::try_from(query.lines).unwrap_or(usize::MAX);
        let mut command = self.journalctl(&JournalQuery { lines: 0, ..query.clone() });
        let mut child = command.arg("--follow").spawn().map_err(|error| spawn_fault(&error))?;
        let mut found = Vec::new();
        let Some(stdout) = child.stdout.take() else { return Ok(found) };
        let mut lines = BufReader::new(stdout.take(ANSWER_BYTES_MAX)).lines();
        let reading = async {
            while found.len() < wanted {
                match lines.next_line().await {
                    Ok(Some(line)) => found.extend(JournalEntry::parse(&line)),
                    Ok(None) => return Ok(true),
                    Err(error) => return Err(spawn_fault(&error)),
                }
            }
            Ok(false)
        };
        // The time having passed is how following usually ends.
        let ended = tokio::time::timeout(span, reading).await.unwrap_or(Ok(false))?;
        if ended && found.is_empty() {
            let mut complaint = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut complaint).await.map_err(|error| spawn_fault(&error))?;
            }
            return Err(complained(&complaint));
        }
        Ok(found)
    }

    /// Waits until journald has written what it was sent before (io.systemd.Journal.Synchronize). Only root may ask;
    /// where it cannot be asked, the newest lines may be missing.
    async fn synchronize(&self) {
        let asked = async {
            let mut socket =
                UnixStream::connect(self.outside("run/systemd/journal/io.systemd.journal")).await?;
            socket.write_all(b"{\"method\":\"io.systemd.Journal.Synchronize\"}\0").await?;
            let mut reply = Vec::new();
            BufReader::new(socket).read_until(0, &mut reply).await
        };
        drop(tokio::time::timeout(SYNC_WAIT, asked).await);
    }
}

fn spawn_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Fault::new(FaultKind::NoProgram, "there is no journalctl to read the journal with")
        }
        _ => Fault::new(FaultKind::Failed, format!("journalctl: {error}")),
    }
}

fn complained(text: &str) -> Fault {
    let text: String = text.trim().chars().take(COMPLAINT_CHARS_MAX).collect();
    let denied = text.contains("insufficient permissions") || text.contains("Permission denied");
    Fault::new(if denied { FaultKind::Denied } else { FaultKind::Failed }, text)
}
