//! Arguments of commands about what people are told.

use clap::Subcommand;

/// `hob notify …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send a message to a channel, to see whether it arrives
    Test {
        /// The channel, or an address: ntfys://ntfy.example.net/house [default: the one that hob's own notices go to]
        channel: Option<String>,
    },
    /// List what is shown at login: what wanted attention and reached no channel
    List,
    /// Forget what is shown at login
    Clear,
}
