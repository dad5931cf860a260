//! Functions around the start and the stop of a service.

use std::time::Duration;

use hob_model::Value;

use super::Raw;
use super::options::Options;

/// How long such a function may take, unless the service says otherwise.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

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
}

impl Hook {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::BeforeStart, Self::AfterStart, Self::BeforeStop, Self::AfterStop];

    /// Its name among the options.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
        }
    }

    /// Where its function is: `service.hooks.before_start`.
    #[must_use]
    pub fn kind(self) -> String {
        format!("service.hooks.{}", self.as_str())
    }

    /// Whether it is about a start.
    #[must_use]
    pub fn is_of_start(self) -> bool {
        matches!(self, Self::BeforeStart | Self::AfterStart)
    }
}

/// The functions around the start and the stop of a service. They are no part of what it is: a change of them takes no new
/// instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Those that there are.
    pub all: Vec<Hook>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { all: Vec::new(), timeout: HOOK_TIMEOUT }
    }
}

impl Hooks {
    /// Whether there is one.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.all.contains(&hook)
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
    take_functions(raw, "hooks", Hook::ALL.map(Hook::as_str))
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
    let names = Hook::ALL.map(Hook::as_str);
    let known = [&names[..], &["timeout"]].concat();
    let mut inner = Options::open(&inner, &known, &mut found);
    refuse_others(&mut inner, names, is_function);
    hooks.timeout = inner.duration("timeout").filter(|it| !it.is_zero()).unwrap_or(HOOK_TIMEOUT);
    let present = Hook::ALL.into_iter().zip(is_function).filter(|(_, is_function)| *is_function);
    hooks.all = present.map(|(hook, _)| hook).collect();
    options.adopt(found);
    hooks
}
