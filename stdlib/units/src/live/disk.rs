//! Unit files on the disk, and what `systemd-analyze` says about them.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{AtFlags, CWD};

use crate::port::{Content, Fault, FaultKind, Scope, UnitFile};

/// The permission bits of a unit file.
const FILE_MODE: u32 = 0o644;

/// The longest file that is read, 4 MiB.
const READ_BYTES_MAX: u64 = 4 << 20;

/// The most that is read of what `systemd-analyze` says.
const VERIFY_BYTES_MAX: usize = 256 << 10;

/// Where systemd looks for unit files of packages, and of the administrator for all users.
const VENDOR: [&str; 3] = ["usr/local/lib/systemd/system", "lib/systemd/system", "usr/lib/systemd/system"];
const VENDOR_USER: [&str; 4] =
    ["etc/systemd/user", "run/systemd/user", "usr/local/lib/systemd/user", "usr/lib/systemd/user"];

/// How deep below `XDG_RUNTIME_DIR` a user's unit files are: `systemd/user`.
const USER_RUNTIME_DEPTH: usize = 2;

pub(super) fn io_fault(error: &io::Error, path: &Path) -> Fault {
    use io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => FaultKind::Denied,
        Io::NotFound => FaultKind::NoSuchUnit,
        Io::AlreadyExists => FaultKind::Exists,
        _ => FaultKind::Failed,
    };
    Fault::new(kind, format!("{}: {error}", path.display()))
}

/// The directories of one manager.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The root of the file system that the manager sees.
    pub(super) root: PathBuf,
    /// Where the administrator's unit files are.
    pub(super) lasting: PathBuf,
    /// Where those are that end with the machine.
    pub(super) runtime: PathBuf,
    pub(super) scope: Scope,
}

impl Disk {
    /// A path that the manager names, as hob sees it.
    pub(super) fn outside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The same the other way round.
    pub(super) fn inside(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inner) if self.root != Path::new("/") => Path::new("/").join(inner).display().to_string(),
            _ => path.display().to_string(),
        }
    }

    fn vendor(&self) -> &'static [&'static str] {
        match self.scope {
            Scope::System => &VENDOR,
            Scope::User => &VENDOR_USER,
        }
    }

    /// Where the manager looks for unit files, those first that stand for others of the same name.
    pub(super) fn search(&self) -> Vec<PathBuf> {
        let own = [self.lasting.clone(), self.runtime.clone()];
        own.into_iter().chain(self.vendor().iter().map(|vendor| self.root.join(vendor))).collect()
    }

    fn place(&self, file: &UnitFile) -> PathBuf {
        let dir = if file.runtime { &self.runtime } else { &self.lasting };
        match &file.drop_in {
            None => dir.join(&file.unit),
            Some(drop_in) => dir.join(format!("{}.d", file.unit)).join(format!("{drop_in}.conf")),
        }
    }

    pub(super) fn read(&self, path: &str) -> Result<String, Fault> {
        let path = self.outside(path);
        let length = fs::metadata(&path).map_err(|error| io_fault(&error, &path))?.len();
        if length > READ_BYTES_MAX {
            return Err(Fault::new(
                FaultKind::Failed,
                format!("{}: longer than {READ_BYTES_MAX} bytes", path.display()),
            ));
        }
        let bytes = fs::read(&path).map_err(|error| io_fault(&error, &path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn unit_file(&self, file: &UnitFile) -> Result<Option<Content>, Fault> {
        let place = self.place(file);
        match fs::symlink_metadata(&place) {
            Ok(it) if it.is_file() => {
                let path = self.inside(&place);
                Ok(Some(Content { text: self.read(&path)?, path }))
            }
            Ok(_) => Err(in_the_way(&place)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(io_fault(&error, &place)),
        }
    }

    /// Writes it beside its place, brings it onto the disk and moves it there: it is whole or not at all.
    pub(super) fn write(&self, file: &UnitFile, text: &str) -> Result<String, Fault> {
        let place = self.place(file);
        self.unit_file(file)?;
        let dir = place.parent().unwrap_or(&self.lasting);
        let write = || -> io::Result<()> {
            fs::create_dir_all(dir)?;
            let mut temporary = tempfile::Builder::new().prefix(".hob-").tempfile_in(dir)?;
            temporary.write_all(text.as_bytes())?;
            temporary.as_file().set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
            temporary.as_file().sync_all()?;
            temporary.persist(&place).map_err(|error| error.error)?;
            fs::File::open(dir)?.sync_all()
        };
        write().map_err(|error| io_fault(&error, &place))?;
        Ok(self.inside(&place))
    }

    pub(super) fn remove(&self, file: &UnitFile) -> Result<bool, Fault> {
        if self.unit_file(file)?.is_none() {
            return Ok(false);
        }
        let place = self.place(file);
        fs::remove_file(&place).map_err(|error| io_fault(&error, &place))?;
        if let (Some(dir), Some(_)) = (place.parent(), &file.drop_in) {
            // The directory stays while there are other drop-ins.
            let _ = rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR);
        }
        Ok(true)
    }

    /// What `systemd-analyze verify` says about the file, laid beside the others in a directory of its own.
    pub(super) async fn verify(&self, file: &UnitFile, text: &str) -> Result<Vec<String>, Fault> {
        let dir = tempfile::tempdir().map_err(|error| io_fault(&error, Path::new("/tmp")))?;
        let place = self.lay_out(dir.path(), file, text).map_err(|error| io_fault(&error, dir.path()))?;
        let mut search = vec![dir.path().to_path_buf()];
        if self.root == Path::new("/") {
            search.push(PathBuf::new()); // an empty end: and where systemd looks anyway
        } else {
            search.extend(self.search());
        }
        let search: Vec<String> = search.iter().map(|path| path.display().to_string()).collect();
        let mut command = tokio::process::Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--generators=no"]);
        command.arg(if self.scope == Scope::User { "--user" } else { "--system" });
        command.arg(place).env("SYSTEMD_UNIT_PATH", search.join(":")).env("LC_ALL", "C.UTF-8");
        // Without it a user's unit files cannot be read at all; hob may have been started without one.
        if let (Scope::User, Some(dir)) = (self.scope, self.runtime.ancestors().nth(USER_RUNTIME_DEPTH)) {
            command.env("XDG_RUNTIME_DIR", dir);
        }
        command.env("SYSTEMD_LOG_LEVEL", "warning").env_remove("SYSTEMD_LOG_TARGET").kill_on_drop(true);
        let output = command.stdin(Stdio::null()).output().await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Fault::new(FaultKind::NoProgram, "there is no systemd-analyze to verify the file with")
            }
            _ => Fault::new(FaultKind::Failed, format!("systemd-analyze: {error}")),
        })?;
        let said = &output.stderr[..output.stderr.len().min(VERIFY_BYTES_MAX)];
        let said = String::from_utf8_lossy(said);
        Ok(problems(&said, output.status.success(), dir.path(), &file.unit))
    }

    fn lay_out(&self, dir: &Path, file: &UnitFile, text: &str) -> io::Result<PathBuf> {
        let unit = dir.join(&file.unit);
        match &file.drop_in {
            None => fs::write(&unit, text)?,
            Some(drop_in) => {
                let drop_ins = dir.join(format!("{}.d", file.unit));
                fs::create_dir(&drop_ins)?;
                fs::write(drop_ins.join(format!("{drop_in}.conf")), text)?;
                // What it is dropped into; without it the file must stand for itself.
                let candidates = self.search().into_iter().map(|dir| dir.join(&file.unit));
                match candidates.into_iter().find(|path| path.is_file()) {
                    Some(base) => drop(fs::copy(base, &unit)?),
                    None => fs::write(&unit, "")?,
                }
            }
        }
        Ok(unit)
    }
}

fn in_the_way(place: &Path) -> Fault {
    let to = fs::read_link(place).unwrap_or_default();
    if to == Path::new("/dev/null") {
        return Fault::new(FaultKind::Masked, format!("{} is masked", place.display()));
    }
    Fault::new(FaultKind::Exists, format!("{} is no file but a link to {}", place.display(), to.display()))
}

/// The lines that are about the file at hand: those that name it, and all of them when it could not be loaded. What is
/// wrong with other units of the machine is not its fault.
fn problems(said: &str, success: bool, dir: &Path, unit: &str) -> Vec<String> {
    let dir = format!("{}/", dir.display());
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let (about, others): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.contains(&dir) || line.contains(unit));
    let chosen = if about.is_empty() && !success { others } else { about };
    chosen.into_iter().map(|line| line.replace(&dir, "")).collect()
}
