//! Functions around the start and the stop of a service, and those by which it gives back memory of a graphics card.

use std::time::Duration;

use hob_model::Value;

use super::Raw;
use super::options::Options;

/// How long such a function may take, unless the service says otherwise.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long giving back memory may take until the memory is seen to be free, unless the service says otherwise.
pub const UNLOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// When a function of a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// When all that it needs is ready, right before it is started; it is not started when this fails.
    BeforeStart,
    /// When its gate holds; it is ready when this has succeeded.
    AfterStart,
    /// Before it is stopped while it runs.
    BeforeStop,
    /// When it has ended, whoever ended it.
    AfterStop,
    /// While it runs, to have it give back memory of a graphics card.
    Unload,
    /// While it runs, when it may have that memory again.
    Load,
}

impl Hook {
    /// Those around starts and stops, in the order in which they run: they are below `hooks`.
    pub const AROUND: [Self; 4] = [Self::BeforeStart, Self::AfterStart, Self::BeforeStop, Self::AfterStop];

    /// Those about memory of a graphics card: they are below `gpu`.
    pub const MEMORY: [Self; 2] = [Self::Unload, Self::Load];

    /// Its name among the options.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
            Self::Unload => "unload",
            Self::Load => "load",
        }
    }

    /// Where its function is: `service.hooks.before_start`.
    #[must_use]
    pub fn kind(self) -> String {
        let under = if Self::MEMORY.contains(&self) { "gpu" } else { "hooks" };
        format!("service.{under}.{}", self.as_str())
    }

    /// Whether it belongs to a stop, which waits for it; all others are given up when the service is stopped.
    #[must_use]
    pub fn is_of_stop(self) -> bool {
        matches!(self, Self::BeforeStop | Self::AfterStop)
    }
}

/// The functions of a service. They are no part of what it is: a change of them takes no new
/// instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Those that there are.
    pub all: Vec<Hook>,
    /// How long each of those around starts and stops may take.
    pub timeout: Duration,
    /// How long each of those about memory may take; until when memory that was given back must be seen to be free.
    pub unload_timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { all: Vec::new(), timeout: HOOK_TIMEOUT, unload_timeout: UNLOAD_TIMEOUT }
    }
}

impl Hooks {
    /// Whether there is one.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.all.contains(&hook)
    }

    /// How long it may take.
    #[must_use]
    pub fn limit(&self, hook: Hook) -> Duration {
        if Hook::MEMORY.contains(&hook) { self.unload_timeout } else { self.timeout }
    }

    /// Takes in those that there are of these.
    pub(super) fn add<const N: usize>(&mut self, hooks: [Hook; N], is_function: [bool; N]) {
        let present = hooks.into_iter().zip(is_function).filter(|(_, is_function)| *is_function);
        self.all.extend(present.map(|(hook, _)| hook));
    }
}

/// Which of these functions there are among those below the option `under`; they are taken out of `raw`.
pub(super) fn take_functions<const N: usize>(raw: &mut Raw, under: &str, names: [&str; N]) -> [bool; N] {
    names.map(|name| {
        let path = format!("{under}.{name}");
        let count = raw.closures.len();
        raw.closures.retain(|it| *it != path);
        raw.closures.len() < count
    })
}

/// Reports what stands where functions of these names should, and is none.
pub(super) fn refuse_others<const N: usize>(
    options: &mut Options<'_>,
    names: [&str; N],
    is_function: [bool; N],
) {
    for (name, is_function) in names.into_iter().zip(is_function) {
        if let Some(other) = options.take(name).filter(|_| !is_function) {
            options.wrong(name, "a function such as || process::run([\"backup\"])", &other);
        }
    }
}

/// The functions of `hooks` among those of `raw`, which are taken out of it.
pub(super) fn take(raw: &mut Raw) -> [bool; 4] {
    take_functions(raw, "hooks", Hook::AROUND.map(Hook::as_str))
}

/// `hooks: #{ before_start, after_start, before_stop, after_stop, timeout }`
pub(super) fn read(options: &mut Options<'_>, is_function: [bool; 4]) -> Hooks {
    let mut hooks = Hooks::default();
    let Some(value) = options.take("hooks") else { return hooks };
    let Value::Map(map) = value else {
        options.wrong(
            "hooks",
            "a map with `before_start`, `after_start`, `before_stop` or `after_stop`",
            &value,
        );
        return hooks;
    };
    let mut found = Vec::new();
    let inner = Raw { options: Value::Map(map), closures: Vec::new(), ..options.as_raw("hooks") };
    let names = Hook::AROUND.map(Hook::as_str);
    let known = [&names[..], &["timeout"]].concat();
    let mut inner = Options::open(&inner, &known, &mut found);
    refuse_others(&mut inner, names, is_function);
    hooks.timeout = inner.duration("timeout").filter(|it| !it.is_zero()).unwrap_or(HOOK_TIMEOUT);
    hooks.add(Hook::AROUND, is_function);
    options.adopt(found);
    hooks
}
