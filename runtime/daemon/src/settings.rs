//! `hob.toml`: settings for what stands beside it.
//!
//! It belongs to the bundle, so that a run keeps the settings it began with.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use hob_engine::bundle::{SETTINGS_FILE, join};
use hob_engine::{Base, Bundle, Permissions};
use hob_model::{Code, Diagnostic, OpError, Source, duration, names, size};
use hob_primitive::{Place, Registry};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

/// The most hosts that are listed.
const HOSTS_MAX: usize = 100;

/// The most runs that `limits.runs` may name.
const RUNS_MAX: usize = 100_000;

/// What `hob.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    narrowings: Vec<Narrowing>,
    /// What is kept of what has ended.
    pub retention: Retention,
    /// How many runs of workflows go on at one time, all together.
    pub runs_max: Option<usize>,
    /// Where the HTTP API and the webhooks listen.
    pub listen: Option<SocketAddr>,
    /// Names beside loopback that a request's `Host` may have.
    pub hosts: Vec<String>,
    /// Where people reach this hob: `https://hob.example.net`.
    pub url: Option<Url>,
}

/// What is kept of ended runs and of events: what is beyond one of these goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Ended runs and events of this time.
    pub age: Option<Duration>,
    /// So many ended runs, the last ended first.
    pub runs: Option<u64>,
    /// So many events, the newest first.
    pub events: Option<u64>,
    /// Ended runs of so many bytes together, the last ended first.
    pub bytes: Option<u64>,
}

/// What the scripts at a path may do at most.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Narrowing {
    /// A file or a directory; empty for all.
    path: String,
    allow: Option<Vec<String>>,
    deny: Vec<String>,
}

/// What the settings are read against.
pub struct Beside<'a> {
    /// Where paths in permissions start.
    pub base: Base<'a>,
    /// What can be permitted.
    pub registry: &'a Registry,
    /// Whether there is a file or a directory at a path beside it.
    pub exists: &'a dyn Fn(&str) -> bool,
}

impl Settings {
    /// The settings of a bundle; the defaults where it has no `hob.toml`.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn of(bundle: &Bundle, beside: &Beside<'_>) -> Result<Self, Vec<Diagnostic>> {
        bundle.text(SETTINGS_FILE).map_or_else(|| Ok(Self::default()), |text| Self::read(&text, beside))
    }

    /// Reads the text of a `hob.toml`.
    ///
    /// # Errors
    /// All mistakes at once, each with its place.
    pub fn read(text: &str, beside: &Beside<'_>) -> Result<Self, Vec<Diagnostic>> {
        let mut reader = Reader { text, beside, problems: vec![] };
        let (whole, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let problem = Diagnostic::error(Code::Syntax, error.message().trim().replace('\n', "; "));
            reader.at(error.span().unwrap_or_default(), problem);
        }
        if !reader.problems.is_empty() {
            return Err(reader.in_order());
        }
        let mut settings = Self::default();
        for (key, value) in reader.known(whole.get_ref(), &["journal", "limits", "permissions", "server"]) {
            match key {
                "permissions" => settings.narrowings = reader.narrowings(value),
                "journal" => settings.retention = reader.journal(value),
                "limits" => settings.runs_max = reader.limits(value),
                _ => reader.server(value, &mut settings),
            }
        }
        if reader.problems.is_empty() { Ok(settings) } else { Err(reader.in_order()) }
    }

    /// Takes from `permissions` what the script `file` may not do. All settings whose path is the file or a directory
    /// above it count; none of them gives more than there was.
    pub fn narrow(&self, file: &str, permissions: &mut Permissions) {
        let counts = |path: &str| {
            path.is_empty()
                || file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for it in self.narrowings.iter().filter(|it| counts(&it.path)) {
            permissions.narrow(it.allow.as_deref(), &it.deny);
        }
    }
}

type Item<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// Reads tables, and keeps what is wrong with them.
struct Reader<'a> {
    text: &'a str,
    beside: &'a Beside<'a>,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn at(&mut self, span: Range<usize>, problem: Diagnostic) {
        let place = Place::of(self.text, span.start);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let source =
            Source { file: SETTINGS_FILE.into(), line: number(place.line), column: number(place.column) };
        self.problems.push(problem.at(source));
    }

    /// The problems as they stand in the file.
    fn in_order(mut self) -> Vec<Diagnostic> {
        let place =
            |problem: &Diagnostic| problem.spans.first().map(|span| (span.source.line, span.source.column));
        self.problems.sort_by_key(place);
        self.problems
    }

    fn wrong(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        let problem = Diagnostic::error(Code::BadDeclaration, message);
        self.at(span, Diagnostic { hint, ..problem });
    }

    /// The entries with a known key; the others are refused.
    fn known<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        known: &[&'static str],
    ) -> Vec<(&'static str, Item<'t, 'i>)> {
        let mut found = Vec::new();
        for (key, value) in table {
            match known.iter().find(|known| **known == key.get_ref()) {
                Some(known) => found.push((*known, value)),
                None => {
                    let hint = match names::nearest(key.get_ref(), known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`? Known are {}", known.join(", ")),
                        None => format!("known are {}", known.join(", ")),
                    };
                    self.wrong(key.span(), format!("unknown key `{}`", key.get_ref()), Some(hint));
                }
            }
        }
        found
    }

    fn table<'t, 'i>(&mut self, value: Item<'t, 'i>, what: &str) -> Option<&'t DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(value, &format!("{what} is a table"));
        }
        table
    }

    fn expected(&mut self, value: Item<'_, '_>, what: &str) {
        self.wrong(value.span(), format!("{what}; got {}", value.get_ref().type_str()), None);
    }

    fn word<'t>(&mut self, value: Item<'t, '_>, what: &str) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.expected(value, &format!("{what} is a text"));
        }
        text
    }

    /// The texts of an array, with their places.
    fn words<'t>(&mut self, value: Item<'t, '_>, what: &str) -> Vec<(&'t str, Range<usize>)> {
        let Some(items) = value.get_ref().as_array() else {
            self.expected(value, &format!("{what} is an array of texts"));
            return vec![];
        };
        let words =
            items.iter().map(|item| Some((self.word(item, &format!("an item of {what}"))?, item.span())));
        words.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn narrowings(&mut self, value: Item<'_, '_>) -> Vec<Narrowing> {
        let Some(paths) = self.table(value, "`permissions`") else { return vec![] };
        let mut narrowings = Vec::new();
        for (path, value) in paths {
            let mut it = Narrowing { path: join("", path.get_ref()), allow: None, deny: vec![] };
            // A slip here would leave a script with more than its owner thinks.
            if it.path.starts_with("..") || !(self.beside.exists)(&it.path) {
                let hint =
                    "write `[permissions.\"scripts/tidy.rhai\"]`, or `\".\"` for all that stands beside it";
                let message = format!("there is no `{}` beside {SETTINGS_FILE}", path.get_ref());
                self.wrong(path.span(), message, Some(hint.to_owned()));
            }
            let Some(lists) = self.table(value, "what is permitted to a path") else { continue };
            for (key, value) in self.known(lists, &["allow", "deny"]) {
                let grants = self.grants(value, key);
                match key {
                    "allow" => it.allow = Some(grants),
                    _ => it.deny = grants,
                }
            }
            narrowings.push(it);
        }
        narrowings
    }

    fn grants(&mut self, value: Item<'_, '_>, key: &str) -> Vec<String> {
        let mut grants = Vec::new();
        for (text, span) in self.words(value, &format!("`{key}`")) {
            match self.beside.base.absolute(text, self.beside.registry) {
                Ok(grant) => grants.push(grant),
                Err(OpError { message, hint, .. }) => self.wrong(span, message, hint),
            }
        }
        grants
    }

    fn journal(&mut self, value: Item<'_, '_>) -> Retention {
        let mut kept = Retention::default();
        let Some(table) = self.table(value, "`journal`") else { return kept };
        for (key, value) in self.known(table, &["keep", "keep_events", "max_size", "retain"]) {
            match key {
                "keep" => kept.runs = self.count(value, key),
                "keep_events" => kept.events = self.count(value, key),
                "max_size" => kept.bytes = self.measure(value, key, size::parse),
                _ => kept.age = self.measure(value, key, duration::parse),
            }
        }
        kept
    }

    /// A text that `parse` understands.
    fn measure<T, E: std::fmt::Display>(
        &mut self,
        value: Item<'_, '_>,
        key: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(self.word(value, &format!("`{key}`"))?);
        parsed.map_err(|error| self.wrong(value.span(), format!("`{key}`: {error}"), None)).ok()
    }

    /// A number of things to keep.
    fn count(&mut self, value: Item<'_, '_>, key: &str) -> Option<u64> {
        let count = integer(value).filter(|count| *count > 0);
        if count.is_none() {
            self.expected(value, &format!("`{key}` is a number of 1 or more"));
        }
        count
    }

    fn limits(&mut self, value: Item<'_, '_>) -> Option<usize> {
        let table = self.table(value, "`limits`")?;
        let (_, value) = self.known(table, &["runs"]).pop()?;
        let runs = integer(value).and_then(|runs| usize::try_from(runs).ok());
        let runs = runs.filter(|runs| (1..=RUNS_MAX).contains(runs));
        if runs.is_none() {
            self.expected(value, &format!("`runs` is a number from 1 to {RUNS_MAX}"));
        }
        runs
    }

    fn server(&mut self, value: Item<'_, '_>, settings: &mut Settings) {
        let Some(table) = self.table(value, "`server`") else { return };
        for (key, value) in self.known(table, &["listen", "hosts", "url"]) {
            match key {
                "listen" => settings.listen = self.listen(value),
                "hosts" => settings.hosts = self.hosts(value),
                _ => settings.url = self.url(value),
            }
        }
    }

    fn url(&mut self, value: Item<'_, '_>) -> Option<Url> {
        let text = self.word(value, "`url`")?;
        let is_place = |url: &Url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        };
        let url = Url::parse(text).ok().filter(is_place);
        if url.is_none() {
            let hint = "write for example \"https://hob.example.net\"".to_owned();
            self.wrong(value.span(), format!("`url`: \"{text}\" is no address of a web server"), Some(hint));
        }
        url
    }

    fn listen(&mut self, value: Item<'_, '_>) -> Option<SocketAddr> {
        let text = self.word(value, "`listen`")?;
        let parsed = text.parse();
        if parsed.is_err() {
            let hint = "write for example \"127.0.0.1:4620\"".to_owned();
            self.wrong(value.span(), format!("`listen`: \"{text}\" is no address"), Some(hint));
        }
        parsed.ok()
    }

    fn hosts(&mut self, value: Item<'_, '_>) -> Vec<String> {
        let words = self.words(value, "`hosts`");
        if words.len() > HOSTS_MAX {
            self.wrong(value.span(), format!("more than {HOSTS_MAX} hosts"), None);
        }
        for (host, span) in &words {
            if let Err(problem) = check_host(host) {
                self.wrong(span.clone(), format!("`hosts`: {problem}"), None);
            }
        }
        words.into_iter().map(|(host, _)| host.to_owned()).collect()
    }
}

fn integer(value: Item<'_, '_>) -> Option<u64> {
    value.get_ref().as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
}

/// Refuses what cannot be the name in a `Host` header.
///
/// # Errors
/// What is wrong with it, as text.
pub fn check_host(host: &str) -> Result<(), String> {
    match host.is_empty() || host.contains(|c: char| c == '/' || c.is_whitespace()) {
        true => Err(format!("\"{host}\" is no name of a host; write for example \"hob.example.net\"")),
        false => Ok(()),
    }
}
