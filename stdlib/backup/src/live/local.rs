//! A repository in a directory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hob_model::OpError;

use crate::port::{Area, Store};

/// How the names of files begin that are not whole yet.
const UNFINISHED: &str = ".tmp-";

/// How old such a file becomes before whoever wrote it is taken for dead.
const UNFINISHED_AGE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn folder(&self, area: Area, name: &str) -> PathBuf {
        match area {
            Area::Config => self.root.clone(),
            // restic spreads packs over 256 folders, since old file systems are slow with large ones.
            Area::Data => self.root.join(area.as_str()).join(name.get(..2).unwrap_or("00")),
            _ => self.root.join(area.as_str()),
        }
    }

    fn path(&self, area: Area, name: &str) -> PathBuf {
        let name = if area == Area::Config { area.as_str() } else { name };
        self.folder(area, name).join(name)
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OpError + '_ {
    move |error| OpError::io(&error, path.display())
}

/// Makes what was done in a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn files_in(folder: &Path, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        match entry.metadata() {
            Ok(meta) if meta.is_file() && name.starts_with(UNFINISHED) => {
                // What a crash left: whoever lists tidies up.
                let age = meta.modified().ok().and_then(|then| then.elapsed().ok());
                if age.is_some_and(|age| age > UNFINISHED_AGE) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            Ok(meta) if meta.is_file() => found.push((name, meta.len())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

impl Store for Local {
    fn create(&self) -> Result<(), OpError> {
        for area in Area::ALL.into_iter().filter(|area| *area != Area::Config) {
            let folder = self.root.join(area.as_str());
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        for first in 0..=u8::MAX {
            let folder = self.folder(Area::Data, &format!("{first:02x}"));
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        sync_directory(&self.root).map_err(failed(&self.root))
    }

    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError> {
        let mut found = Vec::new();
        if area == Area::Config {
            let path = self.path(area, "");
            match fs::metadata(&path) {
                Ok(meta) => found.push((area.as_str().to_owned(), meta.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path)(error)),
            }
            return Ok(found);
        }
        let folder = self.root.join(area.as_str());
        if area != Area::Data {
            files_in(&folder, &mut found).map_err(failed(&folder))?;
            return Ok(found);
        }
        let below = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other.map_err(failed(&folder))?,
        };
        for entry in below {
            let entry = entry.map_err(failed(&folder))?;
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                files_in(&entry.path(), &mut found).map_err(failed(&entry.path()))?;
            }
        }
        Ok(found)
    }

    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError> {
        let path = self.path(area, name);
        let Some(range) = range else {
            return fs::read(&path).map(Bytes::from).map_err(failed(&path));
        };
        let mut file = File::open(&path).map_err(failed(&path))?;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut content = vec![0; length];
        let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut content));
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(OpError::failed(format!("{} is shorter than the index says", path.display()))
                    .hint("the repository is damaged: `backup::check` tells what it still holds"))
            }
            other => other.map(|()| content.into()).map_err(failed(&path)),
        }
    }

    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError> {
        let (folder, path) = (self.folder(area, name), self.path(area, name));
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let unfinished = folder.join(format!("{UNFINISHED}{name}-{}", std::process::id()));
        let written = (|| {
            let mut file = File::create(&unfinished)?;
            content.iter().try_for_each(|part| file.write_all(part))?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_directory(&folder)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            failed(&path)(error)
        })
    }

    fn remove(&self, area: Area, name: &str) -> Result<(), OpError> {
        let path = self.path(area, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }
}
