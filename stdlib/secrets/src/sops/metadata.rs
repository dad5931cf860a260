//! The part `sops` of a file: who can open it, what is encrypted, and the MAC.

use serde_json::{Map, Value as Json, json};

use super::rules::Selection;
use crate::error::{Error, Kind, Result};

/// The most key groups of a file.
const GROUPS_MAX: usize = 64;
/// The newest major version of SOPS whose files are understood.
const MAJOR_VERSION_MAX: u64 = 3;
/// How deep a flattened key may lie: a key of a list of a group of the list of groups is four deep.
const FLATTENED_DEPTH_MAX: usize = 8;
/// Kinds of keys that are out of scope, with what people call them.
const FOREIGN: [(&str, &str); 6] = [
    ("pgp", "PGP"),
    ("kms", "AWS KMS"),
    ("gcp_kms", "Google Cloud KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei Cloud KMS"),
];

/// The data key, or a share of it, encrypted for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgeKey {
    /// The recipient.
    pub(super) recipient: String,
    /// An armored age file.
    pub(super) enc: String,
}

/// Keys that each open the same share of the data key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The age keys.
    pub(super) age: Vec<AgeKey>,
    /// Keys that are out of scope, kept as they are.
    pub(super) foreign: Map<String, Json>,
}

/// What stands below `sops`.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    /// One group, or several with a share of the data key each.
    pub(super) groups: Vec<Group>,
    /// How many groups it takes, when there are several.
    pub(super) threshold: Option<usize>,
    /// What is encrypted.
    pub(super) selection: Selection,
    /// Whether the MAC covers encrypted values alone.
    pub(super) mac_only_encrypted: bool,
    /// When it was written, as it stands there: additional data of the MAC.
    pub(super) last_modified: String,
    /// The encrypted MAC.
    pub(super) mac: String,
    /// The version of the writer, as it stands there.
    pub(super) version: String,
}

impl Metadata {
    /// Reads it.
    ///
    /// # Errors
    /// When a part is missing or is none of its kind.
    pub(super) fn read(map: &Map<String, Json>) -> Result<Self> {
        let top = group(map)?;
        let mut groups = if top == Group::default() { Vec::new() } else { vec![top] };
        if groups.is_empty() {
            for entry in list(map, "key_groups")? {
                groups.push(group(entry.as_object().ok_or_else(|| not_as_expected("key_groups"))?)?);
            }
        }
        if groups.is_empty() {
            return Err(Error::malformed("the file names nobody who can open it: `sops` has no keys"));
        }
        if groups.len() > GROUPS_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the file has more than {GROUPS_MAX} key groups"),
            ));
        }
        let threshold = match map.get("shamir_threshold") {
            None | Some(Json::Null) => None,
            Some(number) => {
                let read = number.as_u64().or_else(|| number.as_str()?.parse().ok());
                let read = read.and_then(|number| usize::try_from(number).ok());
                Some(read.ok_or_else(|| not_as_expected("shamir_threshold"))?)
                    .filter(|&threshold| threshold > 0)
            }
        };
        let mac_only_encrypted = match map.get("mac_only_encrypted") {
            None | Some(Json::Null) => false,
            Some(Json::Bool(only)) => *only,
            Some(Json::String(text)) if text == "true" => true,
            Some(Json::String(text)) if text == "false" => false,
            Some(_) => return Err(not_as_expected("mac_only_encrypted")),
        };
        Ok(Self {
            groups,
            threshold,
            selection: Selection::from_map(map)?,
            mac_only_encrypted,
            last_modified: text(map, "lastmodified")?.to_owned(),
            mac: text(map, "mac")?.to_owned(),
            version: version(map)?,
        })
    }

    /// It as it stands in a file, in alphabetical order.
    #[must_use]
    pub(super) fn write(&self) -> Map<String, Json> {
        let mut map = Map::new();
        match self.groups.as_slice() {
            [one] => map.extend(write_group(one)),
            groups => {
                let groups: Vec<Json> = groups.iter().map(|group| Json::Object(write_group(group))).collect();
                map.insert("key_groups".to_owned(), groups.into());
                let threshold = self.threshold.unwrap_or(self.groups.len());
                map.insert("shamir_threshold".to_owned(), threshold.into());
            }
        }
        map.insert("lastmodified".to_owned(), self.last_modified.clone().into());
        map.insert("mac".to_owned(), self.mac.clone().into());
        if self.mac_only_encrypted {
            map.insert("mac_only_encrypted".to_owned(), true.into());
        }
        map.insert(self.selection.name().to_owned(), self.selection.pattern().into());
        map.insert("version".to_owned(), self.version.clone().into());
        map.sort_keys();
        map
    }

    /// All recipients, without those out of scope.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.age).map(|key| key.recipient.as_str())
    }

    /// The kinds of keys in the file that are out of scope, as people call them.
    #[must_use]
    pub(super) fn foreign(&self) -> Vec<&'static str> {
        let held = |name| self.groups.iter().any(|group| group.foreign.contains_key(name));
        FOREIGN.iter().filter(|(name, _)| held(*name)).map(|(_, title)| *title).collect()
    }
}

/// The kinds of keys in a map that are out of scope: in a creation rule, too.
pub(super) fn foreign_in(map: &Map<String, Json>) -> Option<&'static str> {
    let set = |name: &str| match map.get(name) {
        None | Some(Json::Null) => false,
        Some(Json::Array(list)) => !list.is_empty(),
        Some(Json::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let also = [("azure_keyvault", "Azure Key Vault"), ("hc_vault_transit_uri", "HashiCorp Vault")];
    FOREIGN.iter().chain(&also).find(|(name, _)| set(name)).map(|(_, title)| *title)
}

fn group(map: &Map<String, Json>) -> Result<Group> {
    let mut group = Group::default();
    for key in list(map, "age")? {
        let key = key.as_object().ok_or_else(|| not_as_expected("age"))?;
        group.age.push(AgeKey {
            recipient: text(key, "recipient")?.to_owned(),
            enc: text(key, "enc")?.to_owned(),
        });
    }
    for (name, _) in FOREIGN {
        let keys = list(map, name)?;
        if !keys.is_empty() {
            group.foreign.insert(name.to_owned(), keys.to_vec().into());
        }
    }
    Ok(group)
}

fn write_group(group: &Group) -> Map<String, Json> {
    let mut map = group.foreign.clone();
    if !group.age.is_empty() {
        let keys = group.age.iter().map(|key| json!({"enc": key.enc, "recipient": key.recipient}));
        map.insert("age".to_owned(), keys.collect());
    }
    map.sort_keys();
    map
}

fn list<'a>(map: &'a Map<String, Json>, name: &str) -> Result<&'a [Json]> {
    match map.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(list)) => Ok(list),
        // What a flattened file has where a list is empty.
        Some(Json::String(text)) if text.is_empty() => Ok(&[]),
        Some(_) => Err(not_as_expected(name)),
    }
}

fn text<'a>(map: &'a Map<String, Json>, name: &str) -> Result<&'a str> {
    map.get(name).and_then(Json::as_str).ok_or_else(|| not_as_expected(name))
}

/// The version of the writer, where it is one whose files are understood.
fn version(map: &Map<String, Json>) -> Result<String> {
    let version = match map.get("version") {
        None | Some(Json::Null) => return Ok(String::new()),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        Some(_) => return Err(not_as_expected("version")),
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if version.is_empty() || major.is_some_and(|major| major <= MAJOR_VERSION_MAX) {
        return Ok(version);
    }
    let shown = crate::shortened(&version);
    Err(Error::unsupported(format!(
        "the file is of version {shown} of SOPS; known are those up to {MAJOR_VERSION_MAX}"
    )))
}

fn not_as_expected(name: &str) -> Error {
    Error::malformed(format!("`{name}` of the metadata is missing or is not what it should be")).hint(
        "the part `sops` of a file is written by tools alone; take the last good version from your history",
    )
}

/// What joins the key of a map to that below, in formats without nested maps.
const MAP: &str = "__map_";
/// What joins the index of a list to the key above it.
const LIST: &str = "__list_";

/// The metadata as pairs of a key and a text, for formats without nested maps.
#[must_use]
pub(super) fn flatten(map: &Map<String, Json>) -> Vec<(String, String)> {
    fn descend(value: &Json, key: String, out: &mut Vec<(String, String)>) {
        match value {
            Json::Object(map) => {
                map.iter().for_each(|(name, value)| descend(value, format!("{key}{MAP}{name}"), out));
            }
            Json::Array(list) => {
                let items = list.iter().enumerate();
                items.for_each(|(at, value)| descend(value, format!("{key}{LIST}{at}"), out));
            }
            Json::String(text) => out.push((key, text.clone())),
            other => out.push((key, other.to_string())),
        }
    }
    let mut out = Vec::new();
    map.iter().for_each(|(name, value)| descend(value, name.clone(), &mut out));
    out
}

/// The reverse.
///
/// # Errors
/// When the keys do not fit each other.
pub(super) fn unflatten(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Map<String, Json>> {
    let mut root = Json::Object(Map::new());
    for (key, text) in pairs {
        let broken = || not_as_expected(&crate::shortened(&key));
        if key.matches(MAP).count() + key.matches(LIST).count() > FLATTENED_DEPTH_MAX {
            return Err(broken());
        }
        let mut at = &mut root;
        let mut rest = format!("{MAP}{key}");
        while !rest.is_empty() {
            let (is_list, tail) = match rest.strip_prefix(MAP) {
                Some(tail) => (false, tail.to_owned()),
                None => (true, rest.strip_prefix(LIST).ok_or_else(broken)?.to_owned()),
            };
            let end = [tail.find(MAP), tail.find(LIST)].into_iter().flatten().min().unwrap_or(tail.len());
            let (name, next) = tail.split_at(end);
            at = if is_list {
                item(at, name).ok_or_else(broken)?
            } else {
                field(at, name).ok_or_else(broken)?
            };
            rest = next.to_owned();
        }
        if !at.is_null() {
            return Err(broken());
        }
        *at = Json::String(text);
    }
    match root {
        Json::Object(map) => Ok(map),
        _ => Err(not_as_expected("sops")),
    }
}

fn field<'a>(at: &'a mut Json, name: &str) -> Option<&'a mut Json> {
    if at.is_null() {
        *at = Json::Object(Map::new());
    }
    Some(at.as_object_mut()?.entry(name).or_insert(Json::Null))
}

/// Items come in any order; one that never comes stays null, and is refused where it is read.
fn item<'a>(at: &'a mut Json, index: &str) -> Option<&'a mut Json> {
    let index: usize = index.parse().ok().filter(|&index| index < crate::age::RECIPIENTS_MAX)?;
    if at.is_null() {
        *at = Json::Array(Vec::new());
    }
    let list = at.as_array_mut()?;
    if list.len() <= index {
        list.resize(index + 1, Json::Null);
    }
    list.get_mut(index)
}
