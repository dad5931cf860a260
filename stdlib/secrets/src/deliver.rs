//! Secrets for services: files in memory, readable by their owner alone, one generation after the other.
//!
//! ```text
//! /run/hob-UID/STATE/SERVICE/current ─▶ g-RANDOM/   the files of the secrets, by name
//!                                        .held     of which values they are, as digests
//!                                      g-RANDOM/   an earlier generation, until the service runs with the new one
//! ```
//!
//! A generation is laid out whole before `current` is switched to it by one rename: a start finds the old or the new one,
//! never a part.

#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::{OpError, Secret, SecretForm, SecretRef};
use hob_planner::declaration::SecretValue;
use hob_primitive::{Opened, Vault, open_with};
use hob_supervisor::secrets::{CURRENT, Consumer, Delivered, Delivery, Variable};
use zeroize::Zeroizing;

use crate::held::{self, Held, Holder};
use crate::live;
use crate::vault::{LiveVault, Place};

/// The variable of hob's own environment that names a directory in memory for the secrets of services.
const RUNTIME_VARIABLE: &str = "HOB_RUNTIME";
/// How the names of generations begin.
const GENERATION_PREFIX: &str = "g-";
/// Directories may be passed through and not be listed: their files are for their owners.
const DIRECTORY_MODE: u32 = 0o711;
/// The mode of the files.
const FILE_MODE: u32 = 0o400;
/// Where the values of variables are kept to compare with, for root and hob alone; no service looks there.
const VARIABLES: &str = ".env";
/// The digits of the name that stands for a state directory.
const STATE_DIGITS: usize = 16;

/// Delivers secrets of a vault.
pub struct LiveDelivery {
    vault: Arc<LiveVault>,
    /// Directories in memory, the first that is one counts.
    bases: Vec<PathBuf>,
}

impl LiveDelivery {
    /// Into the usual places: what `HOB_RUNTIME` names, `/run` for root, else the directory of the user's session, else
    /// `/dev/shm`. Root's session is passed over: it ends before its services do.
    #[must_use]
    pub fn new(vault: Arc<LiveVault>) -> Self {
        let user = rustix::process::geteuid();
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let mut bases: Vec<PathBuf> = variable(RUNTIME_VARIABLE).into_iter().collect();
        if user.is_root() {
            bases.push(PathBuf::from("/run"));
        }
        bases.extend(live::memory_directories(variable("XDG_RUNTIME_DIR")));
        Self { vault, bases }
    }

    /// Into these directories, which lie in memory.
    #[must_use]
    pub fn into(vault: Arc<LiveVault>, bases: Vec<PathBuf>) -> Self {
        Self { vault, bases }
    }

    fn directory(&self, state: &Path, service: &str) -> Result<PathBuf, OpError> {
        let base = self.bases.iter().find(|base| live::lies_in_memory(base)).ok_or_else(|| {
            OpError::unavailable("there is no directory in memory for secrets, and none is written to a disk")
                .hint("mount a tmpfs at /run or /dev/shm, or set XDG_RUNTIME_DIR to a directory on one")
        })?;
        let own = format!("hob-{}", rustix::process::geteuid().as_raw());
        let state = &blake3::hash(state.as_os_str().as_encoded_bytes()).to_hex()[..STATE_DIGITS];
        Ok(base.join(own).join(state).join(service))
    }

    /// The value of an expression; notes which secrets it is made of.
    fn open(&self, consumer: &Consumer<'_>, secret: &Secret, held: &mut Held) -> Result<Opened, OpError> {
        if !consumer.sources.is_empty() {
            self.vault.declare(consumer.place, consumer.sources);
        }
        open_with(secret, |reference| {
            let value = self.vault.open(consumer.place, reference)?;
            let place = whole(self.vault.find(consumer.place, &reference.name)?);
            match reference.form {
                SecretForm::Plain => held.add(&place, &value),
                _ => {
                    let plain = SecretRef { form: SecretForm::Plain, ..reference.clone() };
                    held.add(&place, &self.vault.open(consumer.place, &plain)?);
                }
            }
            Ok(value)
        })
    }

    /// What a consumer is to have now: file names below a generation, with contents and owners; and of which secrets.
    fn wanted(&self, consumer: &Consumer<'_>) -> Result<(Vec<Item>, Held), OpError> {
        let mut held = Held::default();
        let items = consumer.uses.iter().map(|it| match &it.what {
            SecretValue::Text(secret) => Ok(Item {
                name: it.names().join(", "),
                path: Path::new(VARIABLES).join(&it.variable),
                content: self.open(consumer, secret, &mut held)?,
                owner: None,
                variable: it.variable.clone(),
                is_text: true,
            }),
            SecretValue::File { name, content, owner } => Ok(Item {
                name: it.names().join(", "),
                path: PathBuf::from(name),
                content: match content {
                    Some(content) => self.open(consumer, content, &mut held)?,
                    None => self.open(consumer, &Secret::named(name.as_str()), &mut held)?,
                },
                owner: owner.as_deref().or(consumer.user).map(account).transpose()?,
                variable: it.variable.clone(),
                is_text: false,
            }),
        });
        let items = items.collect::<Result<_, OpError>>()?;
        Ok((items, held))
    }

    /// The services that hob keeps for this user and that were handed the secret at a place.
    #[must_use]
    pub fn holders(&self, place: &Place) -> Vec<Holder> {
        let place = whole(place.clone());
        let mut holders = Vec::new();
        for directory in self.services() {
            let digest = |generation: PathBuf| {
                let text = live::read_at_most(&generation.join(held::FILE), held::FILE_BYTES_MAX).ok()?;
                let held = Held::parse(&String::from_utf8_lossy(&text));
                held.digest_of(&place).map(str::to_owned)
            };
            let digests: Vec<String> = generations(&directory).into_iter().filter_map(digest).collect();
            if !digests.is_empty() {
                holders.push(Holder::new(&directory, digests));
            }
        }
        holders
    }

    /// The directories of all services of this user.
    fn services(&self) -> Vec<PathBuf> {
        let own = format!("hob-{}", rustix::process::geteuid().as_raw());
        let below = |directory: PathBuf| live::entries(&directory).unwrap_or_default().into_iter();
        let states = self.bases.iter().flat_map(|base| below(base.join(&own)));
        let services = states.filter(|(_, is_directory)| *is_directory).flat_map(|(state, _)| below(state));
        let mut all: Vec<PathBuf> = services.map(|(service, _)| service).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// A place whose file is named without links, so that two homelabs with one file mean the same.
fn whole(place: Place) -> Place {
    Place { file: fs::canonicalize(&place.file).unwrap_or(place.file), ..place }
}

struct Item {
    /// The name of the secret.
    name: String,
    path: PathBuf,
    content: Opened,
    /// User and group.
    owner: Option<(u32, u32)>,
    variable: String,
    is_text: bool,
}

/// The numbers of a user, from a name or a number.
fn account(user: &str) -> Result<(u32, u32), OpError> {
    let failed = || OpError::invalid(format!("there is no user `{user}` to own a secret"));
    let found = match user.parse::<u32>() {
        Ok(id) => match nix::unistd::User::from_uid(id.into()) {
            Ok(Some(user)) => Some(user),
            _ => return Ok((id, id)),
        },
        Err(_) => nix::unistd::User::from_name(user).ok().flatten(),
    };
    found.map(|user| (user.uid.as_raw(), user.gid.as_raw())).ok_or_else(failed)
}

fn lay_out(generation: &Path, items: &[Item], held: Option<&Held>) -> io::Result<()> {
    let directory = |path: &Path, mode: u32| DirBuilder::new().recursive(true).mode(mode).create(path);
    directory(generation, DIRECTORY_MODE)?;
    for item in items {
        let path = generation.join(&item.path);
        let above = path.parent().unwrap_or(generation);
        directory(above, if item.is_text { 0o700 } else { DIRECTORY_MODE })?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        if let Some((user, group)) = item.owner {
            chown(&path, Some(user), Some(group))?;
        }
        file.write_all(&item.content)?;
    }
    let Some(held) = held else { return Ok(()) };
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(FILE_MODE).open(generation.join(held::FILE))?;
    file.write_all(held.text().as_bytes())
}

/// Makes the directory of a service; the ones above it are for its owner to write and for others to pass through.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    let own = rustix::process::geteuid().as_raw();
    // Somebody else may have made it first, where everybody may write.
    for above in directory.ancestors().take(3) {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::symlink_metadata(above)?;
        if !meta.is_dir() || meta.uid() != own {
            return Err(io::Error::other(format!("{} belongs to somebody else", above.display())));
        }
        fs::set_permissions(above, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    }
    Ok(())
}

/// Overwrites and removes a generation: memory that the file system frees is not cleared at once.
fn wipe(generation: &Path) {
    let mut left = vec![generation.to_path_buf()];
    while let Some(path) = left.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if meta.is_file() {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
            if let Ok(mut file) = OpenOptions::new().write(true).open(&path) {
                let length = usize::try_from(meta.len()).unwrap_or(0).min(crate::PLAIN_BYTES_MAX);
                let _ = file.write_all(&vec![0; length]);
            }
        }
    }
    let _ = fs::remove_dir_all(generation);
}

/// All generations of a service.
fn generations(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(GENERATION_PREFIX);
    entries.filter(|entry| is_one(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// The generations of a service but for the current one.
fn others(directory: &Path) -> Vec<PathBuf> {
    let current = fs::read_link(directory.join(CURRENT)).ok().map(|link| directory.join(link));
    generations(directory).into_iter().filter(|it| Some(it) != current.as_ref()).collect()
}

/// The files with secrets, of all services of this user, that others than their owners may read.
#[must_use]
pub fn open_to_others() -> Vec<PathBuf> {
    let delivery = LiveDelivery::new(crate::shared());
    let own = format!("hob-{}", rustix::process::geteuid().as_raw());
    let mut left: Vec<PathBuf> = delivery.bases.iter().map(|base| base.join(&own)).collect();
    let mut open = Vec::new();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                left.push(entry.path());
            } else if meta.is_file() && live::is_open_to_others(&entry.path()) {
                open.push(entry.path());
            }
        }
    }
    open
}

impl Delivery for LiveDelivery {
    fn deliver(&self, consumer: &Consumer<'_>) -> Result<Delivered, OpError> {
        let (items, held) = self.wanted(consumer)?;
        let held = consumer.kept.then_some(held);
        let directory = self.directory(consumer.state, consumer.service)?;
        let failed = |error: io::Error| OpError::io(&error, directory.display().to_string());
        make(&directory).map_err(failed)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| OpError::unavailable(error.to_string()))?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let generation = format!("{GENERATION_PREFIX}{name}");
        let laid = lay_out(&directory.join(&generation), &items, held.as_ref()).and_then(|()| {
            let link = directory.join(format!("{CURRENT}-{name}"));
            symlink(&generation, &link)?;
            fs::rename(&link, directory.join(CURRENT))
        });
        if let Err(error) = laid {
            wipe(&directory.join(&generation));
            return Err(failed(error));
        }
        // The link is followed where the service looks: it finds the next generation without being started anew.
        let seen = consumer.inside.map_or(&*directory, Path::new).join(CURRENT);
        let has_files = items.iter().any(|item| !item.is_text);
        let env = items.into_iter().map(|item| Variable {
            name: item.variable,
            value: match item.is_text {
                true => item.content,
                false => Zeroizing::new(seen.join(&item.path).as_os_str().as_encoded_bytes().to_vec()),
            },
            is_secret: item.is_text,
        });
        Ok(Delivered { env: env.collect(), directory: has_files.then_some(directory) })
    }

    fn settle(&self, state: &Path, service: &str) {
        if let Ok(directory) = self.directory(state, service) {
            others(&directory).iter().for_each(|generation| wipe(generation));
        }
    }

    fn remove(&self, state: &Path, service: &str) {
        if let Ok(directory) = self.directory(state, service) {
            let current = fs::read_link(directory.join(CURRENT)).ok();
            current.iter().for_each(|generation| wipe(&directory.join(generation)));
            others(&directory).iter().for_each(|generation| wipe(generation));
            let _ = fs::remove_dir_all(&directory);
        }
    }

    fn stale(&self, consumer: &Consumer<'_>) -> Vec<String> {
        let Ok(directory) = self.directory(consumer.state, consumer.service) else { return Vec::new() };
        let Ok((items, _)) = self.wanted(consumer) else { return Vec::new() };
        let generations = [others(&directory), vec![directory.join(CURRENT)]].concat();
        let differs = |item: &Item| {
            let mut known = generations.iter().filter_map(|it| fs::read(it.join(&item.path)).ok());
            known.any(|old| *Zeroizing::new(old) != *item.content)
        };
        let changed: BTreeSet<String> = items.into_iter().filter(differs).map(|item| item.name).collect();
        changed.into_iter().collect()
    }
}
