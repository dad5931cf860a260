//! Where the secrets of a homelab are, by name.
//!
//! A source is a SOPS file, whose secrets are named by the keys that lead to them (`media/sabnzbd`), or a directory: there
//! `postgres` is the age file `postgres.age`, and `media/sabnzbd` is `media/sabnzbd.age`, or the key `sabnzbd` of the
//! SOPS file `media.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hob_model::secret::is_name;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::part::scalar;
use crate::Result;
use crate::error::{Error, Kind};
use crate::live;
use crate::sops::{self, Format};

/// Where secrets are unless the homelab says otherwise, beside `homelab.rhai` or in the working directory.
pub const USUAL_SOURCES: [&str; 6] =
    ["secrets", "secrets.yaml", "secrets.yml", "secrets.json", "secrets.env", "secrets.ini"];

/// The endings of SOPS files with several secrets.
const SEVERAL: [&str; 5] = ["yaml", "yml", "json", "env", "ini"];
/// The ending of age files.
const AGE: &str = "age";
/// The most secrets that are listed.
const LISTED_MAX: usize = 100_000;
/// The deepest directory below a source, in levels.
const DEPTH_MAX: usize = 16;

/// A place where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The encrypted file.
    pub file: PathBuf,
    /// Its key in a SOPS file, in parts joined with `/`; nothing where the file is the secret.
    pub key: Option<String>,
}

impl Place {
    /// Whether it is in a SOPS file.
    #[must_use]
    pub fn is_sops(&self) -> bool {
        self.key.is_some()
    }
}

/// The format of a SOPS file with several secrets.
pub(crate) fn format_of(file: &Path) -> Option<Format> {
    let ending = file.extension()?.to_str()?;
    SEVERAL.contains(&ending).then(|| Format::of_name(&format!("x.{ending}")))
}

/// Where the secret `name` is; the first source that has it counts.
pub(super) fn find(sources: &[PathBuf], name: &str) -> Option<Place> {
    if !is_name(name) {
        return None;
    }
    sources.iter().find_map(|source| match format_of(source) {
        Some(_) if live::is_file(source) => Some(Place { file: source.clone(), key: Some(name.to_owned()) }),
        _ => in_directory(source, name),
    })
}

fn in_directory(directory: &Path, name: &str) -> Option<Place> {
    let own = directory.join(format!("{name}.{AGE}"));
    if live::is_file(&own) {
        return Some(Place { file: own, key: None });
    }
    let cuts = name.match_indices('/').map(|(at, _)| at).rev();
    let files = cuts.flat_map(|at| {
        let (file, key) = (&name[..at], &name[at + 1..]);
        SEVERAL.iter().map(move |ending| (directory.join(format!("{file}.{ending}")), key))
    });
    files
        .filter(|(file, _)| live::is_file(file))
        .map(|(file, key)| Place { file, key: Some(key.to_owned()) })
        .next()
}

/// All secrets of the sources by name, without opening any.
///
/// # Errors
/// When there are too many, or a file cannot be read.
pub(super) fn list(sources: &[PathBuf]) -> Result<BTreeMap<String, Place>> {
    let mut all = BTreeMap::new();
    for source in sources {
        if format_of(source).is_some() && live::is_file(source) {
            list_file(source, "", &mut all)?;
        } else if source.is_dir() {
            list_directory(source, "", 0, &mut all)?;
        }
    }
    Ok(all)
}

fn list_directory(
    directory: &Path,
    prefix: &str,
    depth: usize,
    all: &mut BTreeMap<String, Place>,
) -> Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for (path, is_directory) in live::entries(directory)? {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if file.starts_with('.') {
            continue;
        }
        if is_directory {
            list_directory(&path, &format!("{prefix}{file}/"), depth + 1, all)?;
        } else if let Some(stem) = file.strip_suffix(".age") {
            note(all, format!("{prefix}{stem}"), Place { file: path, key: None })?;
        } else if format_of(&path).is_some() {
            let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
            list_file(&path, &format!("{prefix}{stem}/"), all)?;
        }
    }
    Ok(())
}

/// The secrets of a SOPS file; any other file of the same ending is passed over.
fn list_file(file: &Path, prefix: &str, all: &mut BTreeMap<String, Place>) -> Result<()> {
    let Some(format) = format_of(file) else { return Ok(()) };
    let content = live::read(file)?;
    let Ok(Some(tree)) = sops::tree(&content, format) else { return Ok(()) };
    for (key, _) in leaves(&tree) {
        let place = Place { file: file.to_path_buf(), key: Some(key.clone()) };
        note(all, format!("{prefix}{key}"), place)?;
    }
    Ok(())
}

fn note(all: &mut BTreeMap<String, Place>, name: String, place: Place) -> Result<()> {
    if all.len() >= LISTED_MAX {
        return Err(Error::new(Kind::TooLarge, format!("there are more than {LISTED_MAX} secrets")));
    }
    if is_name(&name) {
        all.entry(name).or_insert(place);
    }
    Ok(())
}

/// The values of a tree by the keys that lead to them, joined with `/`.
pub(super) fn leaves(tree: &Json) -> Vec<(String, Zeroizing<String>)> {
    fn visit(json: &Json, path: &str, out: &mut Vec<(String, Zeroizing<String>)>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") };
        match json {
            Json::Object(map) => map.iter().for_each(|(key, item)| visit(item, &below(key), out)),
            Json::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| visit(item, &below(&at.to_string()), out));
            }
            other => out.extend(scalar(other).map(|text| (path.to_owned(), text))),
        }
    }
    let mut out = Vec::new();
    visit(tree, "", &mut out);
    out
}
