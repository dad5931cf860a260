//! The operation that writes what systemd needs to mount a file system, and mounts nothing.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What writes units; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::path::{Component, Path};
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Mode, Options};

    /// Where the files with names and passwords of servers are, in memory, and only for root.
    const CREDENTIALS: &str = "/run/hob/mounts";

    /// Types that need the network.
    const OF_NETWORK: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "davfs"];

    /// The most options, and the longest.
    const OPTIONS_MAX: usize = 100;
    const OPTION_BYTES_MAX: usize = 4096;

    /// Options of `storage::mount_units`.
    #[derive(Debug, Options)]
    struct MountUnitsOptions {
        /// What is mounted: `"nas:/tank/media"`, `"//nas/share"`, `"UUID=…"`, `"/dev/sdb1"`.
        source: String,
        /// Its type; without it `nfs` for `server:/path`, `cifs` for `//server/share`, otherwise what the kernel finds.
        r#type: Option<String>,
        /// More options of mount(8): `["vers=4.2", "ro"]`.
        options: Option<Vec<String>>,
        /// Whether it is mounted when somebody comes there, and not before. Without it, what comes over the network is.
        automount: Option<bool>,
        /// After so long without use it is unmounted until somebody comes again; for what is mounted automatically. `"0s"` for
        /// never.
        #[option(default = "Duration::from_secs(10 * 60)")]
        idle: Duration,
        /// How long mounting may take.
        #[option(default = "Duration::from_secs(30)")]
        timeout: Duration,
        /// Whether name and password come from a file, which is named in the result.
        #[option(default = "false")]
        credentials: bool,
        /// What files may be, on SMB: `"0664"`.
        file_mode: Option<Mode>,
        /// What directories may be, on SMB: `"0775"`.
        dir_mode: Option<Mode>,
        /// Who owns all files, by number, on SMB.
        uid: Option<u32>,
        /// Whose group all files have, by number, on SMB.
        gid: Option<u32>,
    }

    /// Writes units of systemd that mount a file system at a path, as text, and does nothing with them.
    ///
    /// It gives `mount` and `automount`, the names of the units (`()` where nothing is mounted automatically), `start`, the one
    /// that is started, `files`, an array of maps with `unit` and `text`, and `credentials`, the path of the file for name
    /// and password, or `()`. `import "hob:storage"` has functions that write and start them.
    ///
    /// What comes over the network is mounted when somebody comes there, let go of when nobody used it for 10 minutes, and
    /// may be missing at boot.
    ///
    /// Class `pure`.
    ///
    /// Fails with `invalid` for a path that is not absolute, and for options that would leave their line.
    ///
    /// ```rhai
    /// let nas = storage::mount_units("/mnt/share", #{ source: "nas:/tank/share", options: ["vers=4.2"] });
    /// nas.mount == "mnt-share.mount" && nas.start == "mnt-share.automount" && nas.files[0].text.contains("Type=nfs")
    /// ```
    #[operation(pure, returns = "map")]
    fn mount_units(path: String, options: MountUnitsOptions) -> Result<Value, OpError> {
        let path = plain(&path)?;
        let stem = escaped(&path);
        let fs_type = fs_type(&options);
        let of_network = fs_type.as_deref().is_some_and(|it| OF_NETWORK.contains(&it));
        let automatic = options.automount.unwrap_or(of_network);
        let (mount, automount) = (format!("{stem}.mount"), format!("{stem}.automount"));
        let credentials = options.credentials.then(|| format!("{CREDENTIALS}/{stem}"));
        let all = mount_options(&options, fs_type.as_deref(), of_network, credentials.as_deref())?;
        let mut files =
            vec![(mount.clone(), mount_text(&path, &options, fs_type.as_deref(), of_network, &all)?)];
        if automatic {
            files.push((automount.clone(), automount_text(&path, options.idle)));
        }
        let file = |(unit, text): (String, String)| {
            Value::map([("unit", Value::from(unit)), ("text", Value::from(text))])
        };
        Ok(Value::map([
            ("mount", Value::from(mount.as_str())),
            ("automount", Value::from(automatic.then(|| automount.clone()))),
            ("start", Value::from(if automatic { automount } else { mount })),
            ("files", Value::Array(files.into_iter().map(file).collect())),
            ("credentials", Value::from(credentials)),
        ]))
    }

    fn plain(text: &str) -> Result<String, OpError> {
        let path = Path::new(text);
        let fits = path.is_absolute()
            && path.parent().is_some()
            && path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
        if !fits || text.contains(char::is_control) {
            let why =
                format!("\"{text}\" is no place for a mount: it is absolute, without `..`, and not `/`");
            return Err(OpError::invalid(why));
        }
        Ok(path.components().collect::<std::path::PathBuf>().to_string_lossy().into_owned())
    }

    /// The name of a unit for a path, as `systemd-escape --path` gives it (systemd.unit(5)).
    fn escaped(path: &str) -> String {
        let mut name = String::new();
        for (at, byte) in path.trim_matches('/').bytes().enumerate() {
            match byte {
                b'/' => name.push('-'),
                b'.' if at == 0 => name.push_str("\\x2e"),
                b'_' | b':' | b'.' => name.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
                _ => name.push_str(&format!("\\x{byte:02x}")),
            }
        }
        name
    }

    fn fs_type(options: &MountUnitsOptions) -> Option<String> {
        let guessed = match options.source.as_str() {
            share if share.starts_with("//") => Some("cifs"),
            export if !export.starts_with('/') && export.contains(":/") => Some("nfs"),
            _ => None,
        };
        options.r#type.clone().or(guessed.map(str::to_owned))
    }

    fn mount_options(
        options: &MountUnitsOptions,
        fs_type: Option<&str>,
        of_network: bool,
        credentials: Option<&str>,
    ) -> Result<Vec<String>, OpError> {
        let mut all = options.options.clone().unwrap_or_default();
        let bad = |it: &String| it.is_empty() || it.len() > OPTION_BYTES_MAX || it.contains(char::is_control);
        if all.len() > OPTIONS_MAX || all.iter().any(bad) {
            return Err(OpError::invalid("`options`: texts as in fstab(5), one option each"));
        }
        if let Some(it) = all.iter().find(|it| it.starts_with("password") || it.starts_with("pass=")) {
            let (key, _) = it.split_once('=').unwrap_or((it, ""));
            return Err(OpError::invalid(format!("`options`: everybody on this machine would see `{key}`"))
                .hint("`username` and `password` of hob:storage go into a file that only root can read"));
        }
        if of_network {
            all.push("_netdev".to_owned());
        }
        all.push("nofail".to_owned());
        all.extend(credentials.map(|path| format!("credentials={path}")));
        let of_share = [
            ("file_mode", options.file_mode.map(|Mode(bits)| format!("0{bits:o}"))),
            ("dir_mode", options.dir_mode.map(|Mode(bits)| format!("0{bits:o}"))),
            ("uid", options.uid.map(|id| id.to_string())),
            ("gid", options.gid.map(|id| id.to_string())),
        ];
        for (key, value) in of_share {
            let Some(value) = value else { continue };
            if !fs_type.is_some_and(|it| matches!(it, "cifs" | "smb3")) {
                return Err(OpError::invalid(format!(
                    "`{key}` is for SMB; elsewhere files have modes and owners"
                ))
                .hint("storage::ensure_dir sets what new files in a directory may be"));
            }
            all.push(format!("{key}={value}"));
        }
        Ok(all)
    }

    /// A value on one line, with what systemd would expand written twice.
    fn value(what: &str, text: &str) -> Result<String, OpError> {
        if text.is_empty() || text.contains(char::is_control) {
            return Err(OpError::invalid(format!("`{what}`: expected a text on one line")));
        }
        Ok(text.replace('%', "%%"))
    }

    fn mount_text(
        path: &str,
        options: &MountUnitsOptions,
        fs_type: Option<&str>,
        of_network: bool,
        all: &[String],
    ) -> Result<String, OpError> {
        let mut text = "# Written by hob: storage::mount_units\n[Unit]\n".to_owned();
        text += &format!("Description={} at {}\n", value("source", &options.source)?, value("path", path)?);
        if of_network {
            text += "Wants=network-online.target\nAfter=network-online.target\n";
        }
        text += &format!(
            "\n[Mount]\nWhat={}\nWhere={}\n",
            value("source", &options.source)?,
            value("path", path)?
        );
        if let Some(fs_type) = fs_type {
            text += &format!("Type={}\n", value("type", fs_type)?);
        }
        text += &format!("Options={}\n", value("options", &all.join(","))?);
        text += &format!("TimeoutSec={}ms\n", options.timeout.as_millis());
        Ok(text)
    }

    fn automount_text(path: &str, idle: Duration) -> String {
        let path = path.replace('%', "%%");
        format!(
            "# Written by hob: storage::mount_units\n[Unit]\nDescription={path}, when somebody comes there\n\n\
             [Automount]\nWhere={path}\nTimeoutIdleSec={}ms\n",
            idle.as_millis()
        )
    }

    #[cfg(test)]
    mod tests {
        use super::escaped;

        #[test]
        fn names_are_those_of_systemd_escape() {
            let cases = [
                ("/mnt/share", "mnt-share"),
                ("/srv/a-b", "srv-a\\x2db"),
                ("/.hidden/x.y", "\\x2ehidden-x.y"),
                ("/mnt/Über uns", "mnt-\\xc3\\x9cber\\x20uns"),
                ("/a_b:c", "a_b:c"),
            ];
            for (path, name) in cases {
                assert_eq!(escaped(path), name, "{path}");
            }
        }
    }
}
