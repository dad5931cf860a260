//! Servers that listen on a port of their own.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Another program may take a free port before the server does.
pub(crate) const ATTEMPTS: usize = 5;

/// A port of 127.0.0.1 that nobody listens on just now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A command that ends with the thread that starts it.
pub(crate) fn bound(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a server, and waits until it listens on `port`; none where it ended before.
pub(crate) fn begin(command: &mut Command, port: u16) -> io::Result<Option<Child>> {
    let mut child = command.spawn()?;
    let begun = Instant::now();
    while begun.elapsed() < READY_WITHIN {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(Some(child));
        }
        std::thread::yield_now();
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Has a server end by itself.
pub(crate) fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = child.wait();
    }
}
