//! A repository that is open, locked and guarded.

use std::sync::Arc;
use std::time::Duration;

use hob_model::{ErrorKind, OpError, Secret, Timestamp, Value};
use hob_primitive::{Ctx, FromValue, Mismatch, Nested, Options, SecretText};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, OpenStatus, Repository, RepositoryBackends, RepositoryOptions,
    RusticError, RusticResult,
};

use crate::guard::{Guard, Watch};
use crate::location::Location;
use crate::lock::{Lock, Use};
use crate::port::{Backups, Login, Store};

/// The tag of a snapshot whose source could not be read as a whole.
pub(crate) const INCOMPLETE: &str = "incomplete";

/// Whose snapshots are further in the future than this, their clock was wrong: no two clocks that are right differ so much.
pub(crate) const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The most repositories that one call goes to.
const PLACES_MAX: usize = 16;

/// How a place is written as a map.
#[derive(Clone, Debug, PartialEq, Eq, Options)]
pub(crate) struct PlaceOptions {
    /// Where it is: a path, `rest:URL`, `s3:URL` or `rclone:REMOTE:PATH`.
    repository: String,
    /// The password of the repository.
    password: Option<SecretText>,
    /// The user of the server; the access key of S3.
    user: Option<String>,
    /// The password of that user; the secret key of S3.
    secret: Option<SecretText>,
    /// The region of S3, where the address does not tell.
    region: Option<String>,
}

/// A repository as a script names it: a text, or a map with its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    text: String,
    password: Option<Secret>,
    user: Option<String>,
    secret: Option<Secret>,
    region: Option<String>,
}

impl FromValue for Place {
    const KIND: &'static str = "string or map";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self { text, password: None, user: None, secret: None, region: None }),
            Value::Map(_) => {
                let read: PlaceOptions = Nested::read(value)?;
                Ok(Self {
                    text: read.repository,
                    password: read.password.map(|it| it.0),
                    user: read.user,
                    secret: read.secret.map(|it| it.0),
                    region: read.region,
                })
            }
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// One repository or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places(pub(crate) Vec<Place>);

impl FromValue for Places {
    const KIND: &'static str = "string, map or array of these";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let refuse = |text: &str| Mismatch { message: text.to_owned(), hint: None };
        let places = match value {
            Value::Array(items) => items.into_iter().map(Place::from_value).collect::<Result<Vec<_>, _>>()?,
            one => vec![Place::from_value(one)?],
        };
        match places.len() {
            0 => Err(refuse("an empty list names no repository")),
            many if many > PLACES_MAX => Err(refuse("more than 16 repositories in one call")),
            _ => Ok(Self(places)),
        }
    }
}

/// What all operations on a repository take.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// The password, unless the place has one of its own.
    pub(crate) password: Option<SecretText>,
    /// How long to wait for other programs.
    pub(crate) wait: Duration,
}

/// A repository whose keys are open.
pub(crate) struct Session {
    pub(crate) repo: Repository<OpenStatus>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) location: Location,
    store: Arc<dyn Store>,
    // Dropped last: the lock outlives what it protects.
    _lock: Lock,
}

/// A place that is known, and not opened yet.
struct Reached {
    location: Location,
    credentials: Credentials,
    store: Arc<dyn Store>,
    backups: Arc<dyn Backups>,
    watch: Arc<Watch>,
}

impl Reached {
    fn new(cx: &Ctx, place: &Place, access: &Access, doing: &str) -> Result<Self, OpError> {
        let location = Location::parse(&place.text, |path| cx.resolve(path))?;
        let password = place.password.as_ref().or(access.password.as_ref().map(|it| &it.0));
        let password = password.ok_or_else(|| {
            OpError::invalid(format!("{location}: the password of the repository is missing"))
                .hint("give `password: secrets::get(\"NAME\")`")
        })?;
        let password = cx.open_text(password)?;
        // restic takes the line of a password file without its end, and so does a secret that came from one.
        let password = password.trim_end_matches(['\n', '\r']);
        if password.is_empty() {
            return Err(OpError::invalid(format!("{location}: the password of the repository is empty")));
        }
        let credentials = Credentials::Password(password.to_owned());
        let secret = place.secret.as_ref().map(|secret| cx.open(secret)).transpose()?;
        let backups = cx.port::<dyn Backups>()?;
        let login = Login { user: place.user.clone(), secret, region: place.region.clone() };
        let store = backups.open(&location, login)?;
        let watch = Arc::new(Watch::new(cx, &backups, format!("{doing} {location}")));
        Ok(Self { location, credentials, store, backups, watch })
    }

    fn repository(&self) -> Result<Repository<()>, OpError> {
        guarded(&self.store, &self.watch, &self.location).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &RusticError) -> OpError {
        at(&self.location, self.watch.explain(error))
    }
}

/// The library's view of a repository.
fn guarded(store: &Arc<dyn Store>, watch: &Arc<Watch>, location: &Location) -> RusticResult<Repository<()>> {
    let (store, watch) = (Arc::clone(store), Arc::clone(watch));
    let guard = Guard { store, watch, location: location.to_string() };
    let mut options = RepositoryOptions::default();
    // A cache would be a second place with names of files, and old ones after somebody else pruned.
    options.no_cache = true;
    Repository::new(&options, &RepositoryBackends::new(Arc::new(guard), None))
}

/// The error, with the repository that it is about.
pub(crate) fn at(location: &Location, mut error: OpError) -> OpError {
    let place = location.to_string();
    if !error.message.contains(&place) {
        error.message = format!("{place}: {}", error.message);
    }
    error
}

impl Session {
    /// Opens a repository. `doing` is for people: `"backing up to"`.
    ///
    /// # Errors
    /// `not_found` when there is none, `denied` for a wrong password, `conflict` when another program has it.
    pub(crate) fn open(
        cx: &Ctx,
        place: &Place,
        access: &Access,
        wanted: Use,
        doing: &str,
    ) -> Result<Self, OpError> {
        let reached = Reached::new(cx, place, access, doing)?;
        let opened = reached.repository()?.open(&reached.credentials);
        let repo = opened.map_err(|error| reached.explain(&error))?;
        let Reached { location, store, backups, watch, .. } = reached;
        let lock = Lock::take(&store, &backups, &watch, &repo.key(), wanted, access.wait);
        let lock = lock.map_err(|error| at(&location, error))?;
        Ok(Self { repo, watch, location, store, _lock: lock })
    }

    /// The repository with its index read as `read` does: the library has one index for each use.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn indexed<S>(
        &self,
        read: impl FnOnce(Repository<OpenStatus>) -> RusticResult<Repository<S>>,
    ) -> Result<Repository<S>, OpError> {
        let credentials = Credentials::Masterkey(self.repo.key());
        let again = guarded(&self.store, &self.watch, &self.location);
        let opened = again.and_then(|repo| repo.open(&credentials)).and_then(read);
        opened.map_err(|error| self.explain(&error))
    }

    /// The error of the library, as scripts see it.
    pub(crate) fn explain(&self, error: &RusticError) -> OpError {
        at(&self.location, self.watch.explain(error))
    }

    /// All snapshots, oldest first.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn snapshots(&self) -> Result<Vec<SnapshotFile>, OpError> {
        let mut all = self.repo.get_all_snapshots().map_err(|error| self.explain(&error))?;
        all.sort_by(|one, other| one.time.cmp(&other.time));
        Ok(all)
    }
}

/// Makes a repository where there is none; its id, and whether it was made.
///
/// # Errors
/// As [`Session::open`].
pub(crate) fn init(cx: &Ctx, place: &Place, access: &Access, append_only: bool) -> Result<Value, OpError> {
    let session = match Session::open(cx, place, access, Use::Reading, "opening") {
        Err(error) if error.kind == ErrorKind::NotFound => None,
        other => Some(other?),
    };
    let (location, id, created) = match session {
        Some(session) => (session.location.clone(), session.repo.config().id.to_string(), false),
        None => {
            let reached = Reached::new(cx, place, access, "making")?;
            // A crash between the key and the config leaves a key alone, and the next call makes both.
            let mut config = ConfigOptions::default();
            config.set_append_only = append_only.then_some(true);
            let owner = reached.backups.owner();
            let mut key = KeyOptions::default();
            (key.hostname, key.username, key.with_created) =
                (Some(owner.hostname), Some(owner.username), true);
            let made = reached.repository()?.init(&reached.credentials, &key, &config);
            let made = made.map_err(|error| reached.explain(&error))?;
            (reached.location, made.config().id.to_string(), true)
        }
    };
    Ok(Value::map([
        ("repository", Value::from(location.to_string())),
        ("id", Value::from(id)),
        ("created", Value::from(created)),
    ]))
}

/// Which snapshots are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) tags: Vec<String>,
    pub(crate) host: Option<String>,
    pub(crate) path: Option<String>,
}

impl Wanted {
    /// Whether a snapshot is one of them.
    pub(crate) fn fits(&self, snapshot: &SnapshotFile) -> bool {
        self.tags.iter().all(|tag| snapshot.tags.contains(tag))
            && self.host.as_ref().is_none_or(|host| snapshot.hostname == *host)
            && self.path.as_ref().is_none_or(|path| snapshot.paths.contains(path))
    }
}

/// The snapshot that `text` names: the beginning of an id, or `latest` of those wanted, and of the whole ones first.
///
/// # Errors
/// `not_found`, or `invalid` when several begin so.
pub(crate) fn choose(
    all: &[SnapshotFile],
    text: &str,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<SnapshotFile, OpError> {
    let fitting = || all.iter().filter(|it| wanted.fits(it));
    if text == "latest" {
        let is_whole = |it: &&SnapshotFile| !it.tags.contains(INCOMPLETE);
        let whole = fitting().filter(|it| !is_ahead(it, now)).rfind(is_whole);
        let found = whole.or_else(|| fitting().rfind(is_whole)).or_else(|| fitting().next_back());
        return found.cloned().ok_or_else(|| OpError::not_found("the repository has no such snapshot"));
    }
    let hexadecimal = !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit());
    if !hexadecimal {
        return Err(OpError::invalid(format!("`{text}` names no snapshot"))
            .hint("write \"latest\", or an id or its beginning, as `backup::snapshots` gives them"));
    }
    let begin = |it: &&SnapshotFile| it.id.to_hex().as_str().starts_with(&text.to_lowercase());
    let mut found = fitting().filter(begin);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(OpError::not_found(format!("the repository has no snapshot {text}"))),
        (Some(_), Some(_)) => Err(OpError::invalid(format!("several snapshots begin with {text}"))),
    }
}

/// Whether a snapshot is of a clock that was wrong: it is from the future.
pub(crate) fn is_ahead(snapshot: &SnapshotFile, now: Timestamp) -> bool {
    now.checked_add(AHEAD).is_ok_and(|ahead| snapshot.time.timestamp() > ahead)
}

/// A snapshot, as scripts see it.
pub(crate) fn shown(snapshot: &SnapshotFile) -> Value {
    let texts = |all: &rustic_core::StringList| Value::from(all.iter().cloned().collect::<Vec<_>>());
    let bytes = snapshot.summary.as_ref().map(|it| Value::from(it.total_bytes_processed));
    let files = snapshot.summary.as_ref().map(|it| Value::from(it.total_files_processed));
    Value::map([
        ("id", Value::from(snapshot.id.to_hex().as_str())),
        ("time", Value::from(snapshot.time.timestamp().to_string())),
        ("host", Value::from(snapshot.hostname.as_str())),
        ("user", Value::from(snapshot.username.as_str())),
        ("paths", texts(&snapshot.paths)),
        ("tags", texts(&snapshot.tags)),
        ("complete", Value::from(!snapshot.tags.contains(INCOMPLETE))),
        ("files", files.unwrap_or_default()),
        ("bytes", bytes.unwrap_or_default()),
        ("program", Value::from(snapshot.program_version.as_str())),
    ])
}

/// The error, with the path that it is about.
pub(crate) fn at_path(path: &std::path::Path, mut error: OpError) -> OpError {
    error.message = format!("{}: {}", path.display(), error.message);
    error
}
