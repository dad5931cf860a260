//! The operation that makes directories as services that share files need them.

pub(crate) use operations::primitive;
pub use operations::{Directories, Standing};

use hob_primitive::primitive;

/// What makes directories; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use hob_model::{Digest, OpError, Value};
    use hob_primitive::{Args, Ctx, Mode, NameOrId, Options, PathText};

    use crate::acl;

    /// The most directories of one call.
    const DIRECTORIES_MAX: usize = 1000;

    /// What a directory is now.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Standing {
        /// Its permission bits.
        pub mode: u32,
        /// The number of its owner.
        pub uid: u32,
        /// The number of its group.
        pub gid: u32,
        /// What new files in it get, as the kernel keeps it.
        pub default_acl: Option<Vec<u8>>,
    }

    /// Directories of a machine.
    #[allow(clippy::missing_errors_doc)] // each fails as the system call it is named after
    pub trait Directories: Send + Sync {
        /// What a directory is; `None` where nothing is, an error where something else is.
        fn standing(&self, path: &Path) -> io::Result<Option<Standing>>;
        /// Makes one, with those above it that are missing.
        fn make(&self, path: &Path) -> io::Result<()>;
        /// Gives it owner, mode and default access list, in this order.
        fn set(&self, path: &Path, to: &Standing) -> io::Result<()>;
        /// Whether a file in one can get a second name in the other, by trying with this name.
        fn links(&self, one: &Path, other: &Path, name: &str) -> io::Result<bool>;
        /// The number of a user, or of a group.
        fn id(&self, is_user: bool, name: &str) -> io::Result<Option<u32>>;
    }

    /// Options of `storage::ensure_dir`.
    #[derive(Debug, Options)]
    struct EnsureDirOptions {
        /// Permission bits: `"2775"`, where the 2 hands the group on to what is made in it.
        mode: Option<Mode>,
        /// The owner, by name or number.
        owner: Option<NameOrId>,
        /// The group, by name or number.
        group: Option<NameOrId>,
        /// What files and directories made in it may be, whatever the umask of who makes them: `"0775"` gives files 0664 and
        /// directories 0775; or entries of `setfacl`, `"u::rwx,g::rwx,g:media:rwx,o::r-x"`. `""` for none.
        default_acl: Option<String>,
        /// Directories below it that are made alike: `["torrents/{movies,tv}", "media/{movies,tv}"]`.
        below: Option<Vec<String>>,
        /// Whether hard links between all of these must work, as programs need that move downloads into a library.
        #[option(default = "false")]
        links: bool,
    }

    /// Makes a directory, and directories below it, with owner, mode and default access list.
    ///
    /// What is there already is made so; what is in it is left as it is. It gives `path`, `directories`, all of them, and
    /// `changed`, those that were made or were different.
    ///
    /// With `links: true` a file is linked from the first to each other one and removed again: two datasets, two disks or two
    /// bind mounts in one container look like one directory, and copies are made where links were meant.
    ///
    /// Class `ensure`: what is so already is left alone.
    ///
    /// A dry run tells which would be changed.
    ///
    /// Fails with `conflict` when something else is in the way, and when hard links do not work.
    ///
    /// ```rhai
    /// let data = storage::ensure_dir("data", #{
    ///     mode: "2775", default_acl: "0775", links: true,
    ///     below: ["torrents/{movies,tv,music,books}", "media/{movies,tv,music,books}"],
    /// });
    /// data.directories.len() == 11 && storage::ensure_dir("data", #{ mode: "2775" }).changed == []
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "map", model = model_ensure_dir)]
    fn ensure_dir(cx: &Ctx, path: PathText, options: EnsureDirOptions) -> Result<Value, OpError> {
        let port = cx.port::<dyn Directories>()?;
        let wanted = Wanted::new(cx, &port, &path, &options)?;
        let mut changed = Vec::new();
        for path in &wanted.paths {
            if wanted.ensure(&*port, path)? {
                changed.push(path);
            }
        }
        if options.links {
            check_links(&*port, &wanted.paths, &Digest::of(cx.key().as_bytes()).short())?;
        }
        Ok(result(&wanted, &changed))
    }

    fn model_ensure_dir(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let path: PathText = args.next("path")?;
        let port = cx.port::<dyn Directories>()?;
        let wanted = Wanted::new(cx, &port, &path, &args.options()?)?;
        let mut changed = Vec::new();
        for path in &wanted.paths {
            if standing(&*port, path)?.is_none_or(|now| wanted.of(&now) != now) {
                changed.push(path);
            }
        }
        Ok(result(&wanted, &changed))
    }

    /// What is asked for, with its names looked up.
    struct Wanted {
        paths: Vec<PathBuf>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        /// The list, or none at all.
        default_acl: Option<Option<Vec<u8>>>,
    }

    impl Wanted {
        fn new(
            cx: &Ctx,
            port: &Arc<dyn Directories>,
            path: &PathText,
            options: &EnsureDirOptions,
        ) -> Result<Self, OpError> {
            let find = |is_user: bool, name: &str| {
                let what = if is_user { "user" } else { "group" };
                if let Ok(id) = name.parse() {
                    return Ok(id);
                }
                let found = port.id(is_user, name);
                let found = found.map_err(|error| OpError::io(&error, format!("the {what} `{name}`")))?;
                found.ok_or_else(|| OpError::invalid(format!("there is no {what} `{name}`")))
            };
            let number = |is_user: bool, who: &Option<NameOrId>| match who {
                None => Ok(None),
                Some(NameOrId::Id(id)) => Ok(Some(*id)),
                Some(NameOrId::Name(name)) => find(is_user, name).map(Some),
            };
            let default_acl = match options.default_acl.as_deref() {
                None => None,
                Some("") => Some(None),
                Some(text) => Some(Some(acl::parse(text, &find)?)),
            };
            let root = cx.resolve(&path.0);
            Ok(Self {
                paths: paths(&root, options.below.as_deref().unwrap_or_default())?,
                mode: options.mode.map(|Mode(bits)| bits),
                uid: number(true, &options.owner)?,
                gid: number(false, &options.group)?,
                default_acl,
            })
        }

        fn of(&self, now: &Standing) -> Standing {
            Standing {
                mode: self.mode.unwrap_or(now.mode),
                uid: self.uid.unwrap_or(now.uid),
                gid: self.gid.unwrap_or(now.gid),
                default_acl: self.default_acl.clone().unwrap_or_else(|| now.default_acl.clone()),
            }
        }

        /// Makes one so; whether it was not.
        fn ensure(&self, port: &dyn Directories, path: &Path) -> Result<bool, OpError> {
            let fault = |error: &io::Error| OpError::io(error, path.display());
            let before = standing(port, path)?;
            let now = match before.clone() {
                Some(now) => now,
                None => {
                    port.make(path).map_err(|error| fault(&error))?;
                    let made = standing(port, path)?;
                    made.ok_or_else(|| fault(&io::ErrorKind::NotFound.into()))?
                }
            };
            let wanted = self.of(&now);
            if wanted != now {
                port.set(path, &wanted).map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        fault(&error).hint("only root may give directories away")
                    }
                    io::ErrorKind::Unsupported => {
                        fault(&error).hint("its file system keeps no access lists: leave `default_acl` out")
                    }
                    _ => fault(&error),
                })?;
            }
            Ok(before.is_none() || wanted != now)
        }
    }

    fn standing(port: &dyn Directories, path: &Path) -> Result<Option<Standing>, OpError> {
        port.standing(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => {
                OpError::conflict(format!("{} is there and no directory", path.display()))
            }
            _ => OpError::io(&error, path.display()),
        })
    }

    /// All directories, those above others first.
    fn paths(root: &Path, below: &[String]) -> Result<Vec<PathBuf>, OpError> {
        let mut all = vec![root.to_owned()];
        for text in below {
            for relative in expanded(text)? {
                let parts: Vec<&str> =
                    relative.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
                if parts.is_empty() || parts.contains(&"..") || relative.contains('\0') {
                    let why = format!("`below`: \"{text}\" names no directory below {}", root.display());
                    return Err(OpError::invalid(why));
                }
                let mut at = root.to_owned();
                for part in parts {
                    at.push(part);
                    if !all.contains(&at) {
                        all.push(at.clone());
                    }
                }
                if all.len() > DIRECTORIES_MAX {
                    return Err(OpError::invalid(format!("more than {DIRECTORIES_MAX} directories")));
                }
            }
        }
        Ok(all)
    }

    /// The texts that braces stand for, as a shell reads them: `a/{b,c}` is `a/b` and `a/c`.
    fn expanded(text: &str) -> Result<Vec<String>, OpError> {
        let mut done = vec![String::new()];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((choices, left)) = after.split_once('}').filter(|(choices, _)| !choices.contains('{'))
            else {
                return Err(OpError::invalid(format!(
                    "`below`: \"{text}\" has a brace without its other one"
                )));
            };
            let each = |it: &String| {
                choices.split(',').map(move |choice| format!("{it}{before}{choice}")).collect::<Vec<_>>()
            };
            done = done.iter().flat_map(each).take(DIRECTORIES_MAX + 1).collect();
            rest = left;
        }
        Ok(done.into_iter().map(|it| it + rest).collect())
    }

    fn check_links(port: &dyn Directories, paths: &[PathBuf], mark: &str) -> Result<(), OpError> {
        let (first, others) = paths.split_first().expect("the directory itself is among them");
        for other in others {
            let works = port.links(first, other, &format!(".hob-link-{mark}"));
            if !works.map_err(|error| OpError::io(&error, other.display()))? {
                let (one, other) = (first.display(), other.display());
                return Err(OpError::conflict(format!("hard links from {one} to {other} do not work")).hint(
                    "both must be one file system and, in a container, one mount: mount the directory above both",
                ));
            }
        }
        Ok(())
    }

    fn result(wanted: &Wanted, changed: &[&PathBuf]) -> Value {
        let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        Value::map([
            ("path", text(&wanted.paths[0])),
            ("directories", Value::Array(wanted.paths.iter().map(|path| text(path)).collect())),
            ("changed", Value::Array(changed.iter().map(|path| text(path)).collect())),
        ])
    }
}
