//! Arguments of commands about what people are told.

use clap::{Args, Subcommand};

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

/// `hob alerts …`
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List the alerts with what they found, and the silences
    List,
    /// Do not tell of an alert for a while
    Silence(SilenceArgs),
    /// End a silence
    Unsilence {
        /// Its id, which `hob alerts list` shows
        silence: String,
    },
    /// Ask an alert now, without anything coming of it
    Test {
        /// Its name
        alert: String,
        /// Send a message to its channels that says it is a test
        #[arg(long)]
        send: bool,
    },
}

/// `hob alerts silence`
#[derive(Debug, Args)]
pub(crate) struct SilenceArgs {
    /// Its name; `*` stands for any characters: 'disk-*'
    pub alert: String,
    /// For how long: 30m, 2h, 7d
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: String,
    /// Only what has this label; `*` stands for any characters: path=/mnt/*
    #[arg(long = "label", value_name = "LABEL=VALUE")]
    pub labels: Vec<String>,
    /// Why, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}
