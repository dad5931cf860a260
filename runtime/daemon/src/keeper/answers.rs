//! Whether file systems that are mounted answer.
//!
//! One whose server is gone keeps whoever asks it, for ever if it must, and one whose server or program has forgotten it
//! answers nothing but errors. So each is asked now and then, by a thread of its own, and everybody else goes by what it said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::OpError;
use hob_planner::declaration::Mount;
use hob_planner::{MountState, Mounted};
use hob_supervisor::Instance;
use hob_supervisor::storage::Answer;

use super::Inner;

/// One that does not answer is asked again so soon.
const BAD_AGAIN: Duration = Duration::from_secs(2);

/// The shortest time between two looks at one that answers; otherwise it is its patience.
const AGAIN_MIN: Duration = Duration::from_secs(1);

/// What those said that are mounted, by the names of their mounts.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    by_mount: BTreeMap<String, Standing>,
    /// Whether one of them said something else than before.
    news: bool,
    /// Who stands on what was stale, while another one is mounted in its place that answers.
    astray: Vec<Holder>,
}

struct Standing {
    answer: Answer,
    /// What was stale, until what is there answers.
    stale: Option<Stale>,
    /// Whether somebody asks just now.
    asking: bool,
    /// When to ask next.
    next: Duration,
}

/// A file system that is stale.
struct Stale {
    /// Its number.
    number: String,
    /// Who runs on it.
    holders: Vec<Holder>,
}

/// A service, and the life of it that stands on a file system.
pub(super) type Holder = (String, Instance);

impl Standing {
    fn new() -> Self {
        Self { answer: Answer::Well, stale: None, asking: false, next: Duration::ZERO }
    }
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of one that is mounted.
    pub(super) fn state(&self, mount: &Mount) -> MountState {
        match self.lock().by_mount.get(&mount.name).map(|it| it.answer.clone()) {
            Some(Answer::Stale(why)) => MountState::Stale(why),
            Some(Answer::Unresponsive(why)) => MountState::Unresponsive(why),
            Some(Answer::Well) | None => MountState::There,
        }
    }

    /// Forgets one that is not mounted. That it was stale is remembered until it answers.
    fn forget(&self, mount: &Mount) {
        if let Some(standing) = self.lock().by_mount.get_mut(&mount.name) {
            standing.answer = Answer::Well;
            standing.next = Duration::ZERO;
        }
    }

    /// Whether one is to be asked now; it is marked so. `hurry` says that what is mounted there may be another one by now.
    fn begin(&self, mount: &Mount, now: Duration, hurry: bool) -> bool {
        let mut heard = self.lock();
        let standing = heard.by_mount.entry(mount.name.clone()).or_insert_with(Standing::new);
        if hurry {
            standing.next = Duration::ZERO;
        }
        let begins = !standing.asking && now >= standing.next;
        standing.asking |= begins;
        if begins {
            standing.next = now + mount.patience.max(AGAIN_MIN);
        }
        begins
    }

    /// Takes in what one that is mounted as `number` said; `holders` run on it.
    fn take(&self, mount: &Mount, number: &str, answer: Answer, holders: Vec<Holder>, now: Duration) {
        let mut heard = self.lock();
        let heard = &mut *heard;
        let standing = heard.by_mount.entry(mount.name.clone()).or_insert_with(Standing::new);
        match &answer {
            Answer::Stale(_) => standing.stale = Some(Stale { number: number.to_owned(), holders }),
            Answer::Well => {
                // What nobody has open any more leaves its number to the next one.
                let gone = standing.stale.take().filter(|it| it.number != number);
                heard.astray.extend(gone.into_iter().flat_map(|it| it.holders));
            }
            Answer::Unresponsive(_) => {}
        }
        if answer != Answer::Well {
            standing.next = standing.next.min(now + BAD_AGAIN);
        }
        heard.news |= standing.answer != answer;
        standing.answer = answer;
    }

    fn end(&self, mount: &Mount) {
        if let Some(standing) = self.lock().by_mount.get_mut(&mount.name) {
            standing.asking = false;
        }
    }

    /// Whether one said something else since this was asked last.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.lock().news)
    }

    /// Those who stand on what is gone, found since this was asked last.
    pub(super) fn take_astray(&self) -> Vec<Holder> {
        std::mem::take(&mut self.lock().astray)
    }
}

/// What is mounted at the path of a mount, unless it gets mounted when somebody comes there.
pub(super) fn found<'m>(mount: &Mount, mounted: &'m [Mounted]) -> Option<&'m Mounted> {
    let last = mounted.iter().rev().find(|it| it.path == mount.path)?;
    (last.fs_type != hob_planner::AUTOMOUNT).then_some(last)
}

/// Asks those whose time it is, each on a thread of its own. `changed` says that something was mounted or unmounted.
pub(super) fn ask_due(inner: &Arc<Inner>, changed: bool) {
    let Ok(mounted) = inner.file_systems.mounted() else { return };
    let now = inner.supervisors.now();
    for mount in &inner.homelab.mounts {
        let Some(found) = found(mount, &mounted) else {
            inner.answers.forget(mount);
            continue;
        };
        if !is_awake(inner, mount, &mounted) || !inner.answers.begin(mount, now, changed) {
            continue;
        }
        let (inner_of_thread, mount_of_thread) = (Arc::clone(inner), mount.clone());
        let number = found.number.clone();
        let spawned = std::thread::Builder::new().name("hob-asks".into()).spawn(move || {
            let (inner, mount) = (inner_of_thread, mount_of_thread);
            ask(&inner, &mount, &number);
            inner.answers.end(&mount);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread can be started");
            inner.answers.end(mount);
        }
    }
}

/// Asks those of these that are mounted and answered when they were asked last.
///
/// # Errors
/// When it cannot be told what is mounted.
pub(super) fn ask_now<'m>(inner: &Inner, mounts: impl Iterator<Item = &'m Mount>) -> Result<(), OpError> {
    let mut mounts = mounts.filter(|mount| inner.answers.state(mount) == MountState::There).peekable();
    if mounts.peek().is_none() {
        return Ok(());
    }
    let mounted = inner.file_systems.mounted()?;
    for mount in mounts {
        if let Some(found) = found(mount, &mounted) {
            ask(inner, mount, &found.number);
        }
    }
    Ok(())
}

fn ask(inner: &Inner, mount: &Mount, number: &str) {
    let answer = inner.file_systems.answer(&mount.path, mount.patience);
    let holders = match answer {
        Answer::Stale(_) => holders(inner, mount),
        Answer::Well | Answer::Unresponsive(_) => Vec::new(),
    };
    inner.answers.take(mount, number, answer, holders, inner.supervisors.now());
}

/// The services that run on a mount.
fn holders(inner: &Inner, mount: &Mount) -> Vec<Holder> {
    let table = inner.table();
    let users = inner.homelab.services.iter().filter(|it| it.mounts.contains(&mount.name));
    let life = |name: &str| Some(table.services.get(name)?.running.as_ref()?.instance.clone());
    users.filter_map(|it| Some((it.name.clone(), life(&it.name)?))).collect()
}

/// Whether a look keeps nobody from unmounting what is not used: to ask what is mounted on demand counts as use.
fn is_awake(inner: &Inner, mount: &Mount, mounted: &[Mounted]) -> bool {
    let on_demand = mounted.iter().any(|it| it.path == mount.path && it.fs_type == hob_planner::AUTOMOUNT);
    let answers = inner.answers.state(mount) == MountState::There;
    !on_demand || !answers || !holders(inner, mount).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount() -> Mount {
        let (timeout, patience) = (Duration::ZERO, Duration::from_secs(10));
        let source = hob_model::Source::default();
        Mount {
            name: "nas".to_owned(),
            path: "/nas".into(),
            device: None,
            fs_type: None,
            timeout,
            patience,
            source,
        }
    }

    #[test]
    fn who_stood_on_what_is_gone_is_astray_once_another_one_is_there() {
        let mount = mount();
        let stale = || Answer::Stale("gone".to_owned());
        let holder = || vec![("app".to_owned(), Instance("1".to_owned()))];
        // The numbers of what is there when it is stale and when it answers again, and who is astray then.
        for (before, after, astray) in [("0:50", "0:51", 1), ("0:50", "0:50", 0)] {
            let answers = Answers::default();
            answers.take(&mount, before, stale(), holder(), Duration::ZERO);
            assert_eq!(answers.state(&mount), MountState::Stale("gone".to_owned()));
            assert!(answers.take_news() && !answers.take_news());
            answers.forget(&mount);
            assert_eq!(answers.state(&mount), MountState::There);
            answers.take(&mount, after, Answer::Well, Vec::new(), Duration::ZERO);
            assert_eq!(answers.take_astray().len(), astray, "{before} {after}");
        }
    }

    #[test]
    fn each_is_asked_by_one_at_a_time_and_sooner_when_it_does_not_answer() {
        let (mount, answers) = (mount(), Answers::default());
        let at = Duration::from_secs;
        let begins = |now, hurry| answers.begin(&mount, at(now), hurry);
        assert!(begins(0, false) && !begins(20, true), "the first look goes on");
        answers.end(&mount);
        assert!(begins(20, false), "somebody was in a hurry meanwhile");
        answers.take(&mount, "0:50", Answer::Well, Vec::new(), at(20));
        answers.end(&mount);
        assert!(!begins(29, false) && begins(30, false));
        answers.take(&mount, "0:50", Answer::Unresponsive("silent".to_owned()), Vec::new(), at(40));
        answers.end(&mount);
        assert!(begins(42, false));
    }
}
