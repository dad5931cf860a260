//! The declared channels, as the primitive `notify` sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hob_journal::{Commit, Write};
use hob_model::event::MESSAGE_HELD;
use hob_model::{OpError, Value, names};
use hob_planner::Homelab;
use hob_planner::declaration::{Channel, DEFAULT_CHANNEL};
use hob_primitive::{Channels, DeclaredChannel};
use hob_runs::{Runs, WeakRuns};

use super::links::Links;

/// The channels of the homelab that is served, once there is one.
#[derive(Default)]
pub struct KeptChannels(OnceLock<Kept>);

struct Kept {
    channels: BTreeMap<String, DeclaredChannel>,
    default: Option<String>,
    links: Arc<Links>,
    runs: WeakRuns,
}

/// A channel with what it needs of its homelab.
#[must_use]
pub fn of_homelab(homelab: &Homelab, channel: &Channel) -> DeclaredChannel {
    DeclaredChannel {
        name: channel.name.clone(),
        options: channel.options.clone(),
        zone: homelab.timezone.clone(),
        place: homelab.directory.clone(),
    }
}

impl KeptChannels {
    /// From now on these are the channels; the first ones stay.
    pub(crate) fn serve(&self, runs: &Runs, homelab: &Homelab, links: Arc<Links>) {
        let all = homelab.channels.iter().map(|it| (it.name.clone(), of_homelab(homelab, it)));
        let default = homelab.default_channel().map(|it| it.name.clone());
        let _ = self.0.set(Kept { channels: all.collect(), default, links, runs: runs.downgrade() });
    }

    /// The name of the channel that hob's own notices go to.
    pub(crate) fn default_name(&self) -> Option<String> {
        self.0.get()?.default.clone()
    }
}

impl Channels for KeptChannels {
    fn channel(&self, name: &str) -> Result<DeclaredChannel, OpError> {
        let kept = self.0.get().ok_or_else(|| {
            OpError::unavailable(format!("this process serves no homelab, and so no channel `{name}`"))
                .hint("`hob up` does; while it serves, `hob run` runs there")
                .retryable(false)
                .nothing_happened()
        })?;
        let by_default = kept.default.as_deref().filter(|_| name == DEFAULT_CHANNEL);
        let found = kept.channels.get(name).or_else(|| kept.channels.get(by_default?));
        found.cloned().ok_or_else(|| {
            let missing = OpError::not_found(format!("there is no channel `{name}`")).nothing_happened();
            match names::nearest(name, kept.channels.keys().map(String::as_str)) {
                Some(near) => missing.hint(format!("did you mean `{near}`?")),
                None => missing.hint("declare it in homelab.rhai: `channel(name, #{ url: … })`"),
            }
        })
    }

    fn approval_link(&self, run: &str, position: &str) -> Option<String> {
        self.0.get()?.links.approval(run, position)
    }

    fn hold(&self, held: Value, origin: &str) -> Result<bool, OpError> {
        let Some(runs) = self.0.get().and_then(|kept| kept.runs.upgrade()) else { return Ok(false) };
        let (name, origin) = (MESSAGE_HELD.to_owned(), origin.to_owned());
        let ticket =
            runs.journal().submit(Commit::one(Write::Event { name, payload: held, origin, at: runs.now() }));
        let unrecorded = |error| OpError::unavailable(format!("the message cannot be kept: {error}"));
        runs.journal().wait(ticket).map_err(unrecorded)?;
        runs.events_changed();
        Ok(true)
    }
}
