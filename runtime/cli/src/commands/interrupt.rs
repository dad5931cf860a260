//! Ctrl-C and SIGTERM while a run is followed in the foreground.

use hob_daemon::node::Node;
use hob_model::RunId;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// Stops listening when it is dropped.
pub(crate) struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The first Ctrl-C cancels the run, the second ends the effect that is under way, the third the process.
pub(crate) fn cancel_on_signal(node: &Node, run: RunId) -> Guard {
    let runs = node.runs.clone();
    Guard(node.core.runtime().spawn(async move {
        let (Ok(mut interrupts), Ok(mut terminations)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        for count in 1.. {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if count > 2 {
                std::process::exit(130);
            }
            let runs = runs.clone();
            // Cancelling writes to the journal, and so must not hold up this thread.
            let _ = tokio::task::spawn_blocking(move || runs.cancel(run, "Ctrl-C")).await;
        }
    }))
}
