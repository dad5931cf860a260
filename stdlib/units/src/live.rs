//! The adapter for systemd: D-Bus for units and jobs, `journalctl` for entries, `systemd-analyze` to verify files.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O, and a timer's next time takes a real clock.

mod bus;
mod changes;
mod disk;
mod edits;
mod facts;
mod journal;
mod transient;

use std::path::{Path, PathBuf};
use std::time::Duration;

use zbus::connection::Builder;
use zbus::zvariant::OwnedValue;

use crate::journal::{JournalEntry, JournalQuery};
use crate::port::{
    Changes, Content, Edit, Facts, Fault, FaultKind, Link, ManagerFacts, Reply, Row, Scope, Transient,
    UnitFile, UnitLife, UnitsPort, Verb,
};
use bus::Bus;
use disk::Disk;

/// The variable that names the root of the system whose units are meant, where that is not hob's own: a container or a
/// machine under test whose bus `DBUS_SYSTEM_BUS_ADDRESS` names.
pub const ROOT_VARIABLE: &str = "HOB_SYSTEMD_ROOT";

/// `a(sss)`: what was done with which link.
type LinkChanges = Vec<(String, String, String)>;

/// The service managers of this machine, or that of another root.
#[derive(Clone, Debug)]
pub struct Live {
    /// The address of the system bus; none for the usual one.
    address: Option<String>,
    /// The address of the user's bus; none for the usual one.
    user_address: Option<String>,
    root: PathBuf,
    /// Where a user's configuration and runtime files are.
    home: Option<PathBuf>,
    runtime: Option<PathBuf>,
}

impl Live {
    /// The managers of this machine. The addresses of the buses, the root and the directories of the user are taken
    /// from the environment: `DBUS_SYSTEM_BUS_ADDRESS`, `DBUS_SESSION_BUS_ADDRESS`, `HOB_SYSTEMD_ROOT`,
    /// `XDG_CONFIG_HOME` or `HOME`, `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn new() -> Self {
        let dir = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        Self {
            address: None,
            user_address: None,
            root: dir(ROOT_VARIABLE).unwrap_or_else(|| PathBuf::from("/")),
            home: dir("XDG_CONFIG_HOME").or_else(|| dir("HOME").map(|home| home.join(".config"))),
            runtime: dir("XDG_RUNTIME_DIR"),
        }
    }

    /// The system's manager at a bus address, whose file system is below `root`.
    #[must_use]
    pub fn at(address: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self {
            address: Some(address.into()),
            user_address: None,
            root: root.into(),
            home: None,
            runtime: None,
        }
    }

    /// With a user's manager at a bus address; `home` is its `XDG_CONFIG_HOME` and `runtime` its `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn with_user(
        mut self,
        address: impl Into<String>,
        home: impl Into<PathBuf>,
        runtime: impl Into<PathBuf>,
    ) -> Self {
        self.user_address = Some(address.into());
        (self.home, self.runtime) = (Some(home.into()), Some(runtime.into()));
        self
    }

    /// Whether the user hob runs as seems to have a manager.
    pub(crate) fn has_user(&self) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| runtime.join("bus").exists())
    }

    async fn bus(&self, scope: Scope) -> Result<Bus, Fault> {
        let builder = match (scope, &self.address, &self.user_address) {
            (Scope::System, Some(address), _) | (Scope::User, _, Some(address)) => {
                Builder::address(address.as_str())
            }
            (Scope::System, None, _) => Builder::system(),
            (Scope::User, Some(_), None) => {
                return Err(Fault::new(FaultKind::NoBus, "this adapter knows only a system's manager"));
            }
            (Scope::User, None, None) => Builder::session(),
        };
        Bus::connect(builder).await
    }

    fn disk(&self, scope: Scope) -> Result<Disk, Fault> {
        let none = |what: &str| Fault::new(FaultKind::NoBus, format!("{what} is not known"));
        let (lasting, runtime) = match scope {
            Scope::System => (self.root.join("etc/systemd/system"), self.root.join("run/systemd/system")),
            Scope::User => {
                let home = self.home.as_ref().ok_or_else(|| none("the user's home"))?;
                let runtime = self.runtime.as_ref().ok_or_else(|| none("XDG_RUNTIME_DIR"))?;
                (home.join("systemd/user"), runtime.join("systemd/user"))
            }
        };
        Ok(Disk { root: self.root.clone(), lasting, runtime, scope })
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

fn get<T: TryFrom<OwnedValue>>(props: &bus::Props, key: &str) -> Result<T, Fault> {
    let value = props.get(key).and_then(|value| value.try_clone().ok());
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| Fault::new(FaultKind::Failed, format!("systemd has no property {key}")))
}

impl UnitsPort for Live {
    fn manager(&self, scope: Scope) -> Reply<'_, ManagerFacts> {
        Box::pin(async move {
            let props = self.bus(scope).await?.manager_properties().await?;
            Ok(ManagerFacts {
                state: get(&props, "SystemState")?,
                version: get(&props, "Version")?,
                failed: get(&props, "NFailedUnits")?,
                jobs: get(&props, "NJobs")?,
                units: get(&props, "NNames")?,
                started_us: get(&props, "UserspaceTimestamp")?,
            })
        })
    }

    fn rows(&self, scope: Scope) -> Reply<'_, Vec<Row>> {
        Box::pin(async move { self.bus(scope).await?.rows().await })
    }

    fn files(&self, scope: Scope) -> Reply<'_, Vec<String>> {
        Box::pin(async move {
            let files: Vec<(String, String)> = self.bus(scope).await?.call("ListUnitFiles", &()).await?;
            let name =
                |(path, _): (String, String)| Path::new(&path).file_name()?.to_str().map(str::to_owned);
            Ok(files.into_iter().filter_map(name).collect())
        })
    }

    fn facts(&self, scope: Scope, unit: &str) -> Reply<'_, Facts> {
        let unit = unit.to_owned();
        Box::pin(async move { self.bus(scope).await?.facts(&unit).await })
    }

    fn lives(&self, scope: Scope, units: Vec<String>) -> Reply<'_, Vec<Option<UnitLife>>> {
        Box::pin(async move { self.bus(scope).await?.lives(&units).await })
    }

    fn related(&self, scope: Scope, unit: &str, property: &str) -> Reply<'_, Vec<String>> {
        let (unit, property) = (unit.to_owned(), property.to_owned());
        Box::pin(async move {
            let bus = self.bus(scope).await?;
            let path = bus.unit_path(&unit).await?;
            let value = bus.property(path.as_str(), bus::UNIT, &property).await?;
            Ok(Vec::try_from(value).unwrap_or_default())
        })
    }

    fn job(&self, scope: Scope, verb: Verb, unit: &str) -> Reply<'_, String> {
        let unit = unit.to_owned();
        Box::pin(async move { self.bus(scope).await?.job(verb, &unit).await })
    }

    fn settle(&self, scope: Scope, unit: &str) -> Reply<'_, ()> {
        let unit = unit.to_owned();
        Box::pin(async move { self.bus(scope).await?.settle(&unit).await })
    }

    fn ended(&self, scope: Scope, unit: &str) -> Reply<'_, Facts> {
        let unit = unit.to_owned();
        Box::pin(async move { self.bus(scope).await?.ended(&unit).await })
    }

    fn run(&self, scope: Scope, transient: Transient) -> Reply<'_, String> {
        Box::pin(async move { self.bus(scope).await?.run(transient).await })
    }

    fn forget(&self, scope: Scope, unit: &str) -> Reply<'_, ()> {
        let unit = unit.to_owned();
        Box::pin(async move { self.bus(scope).await?.forget(&unit).await })
    }

    fn link(&self, scope: Scope, link: Link, unit: &str, runtime: bool) -> Reply<'_, bool> {
        let unit = unit.to_owned();
        Box::pin(async move {
            let bus = self.bus(scope).await?;
            let units = [unit.as_str()];
            let units = units.as_slice();
            let changes: LinkChanges = match link {
                Link::Enable => {
                    let (installs, changes): (bool, LinkChanges) =
                        bus.call("EnableUnitFiles", &(units, runtime, false)).await?;
                    if !installs && changes.is_empty() {
                        return Err(Fault::new(
                            FaultKind::NotApplicable,
                            format!("{unit} has no [Install] section that says when it should start"),
                        ));
                    }
                    changes
                }
                Link::Disable => bus.call("DisableUnitFiles", &(units, runtime)).await?,
                Link::Mask => bus.call("MaskUnitFiles", &(units, runtime, false)).await?,
                Link::Unmask => bus.call("UnmaskUnitFiles", &(units, runtime)).await?,
            };
            // The others are warnings, such as that of a target that does not exist.
            Ok(changes.iter().any(|(what, ..)| ["symlink", "unlink"].contains(&what.as_str())))
        })
    }

    fn daemon_reload(&self, scope: Scope) -> Reply<'_, ()> {
        Box::pin(async move { self.bus(scope).await?.call("Reload", &()).await })
    }

    fn reset_failed(&self, scope: Scope, unit: Option<&str>) -> Reply<'_, ()> {
        let unit = unit.map(str::to_owned);
        Box::pin(async move {
            let bus = self.bus(scope).await?;
            match unit {
                Some(unit) => bus.call("ResetFailedUnit", &(unit,)).await,
                None => bus.call("ResetFailed", &()).await,
            }
        })
    }

    fn read(&self, path: &str) -> Reply<'_, String> {
        let path = path.to_owned();
        Box::pin(async move { self.disk(Scope::System)?.read(&path) })
    }

    fn unit_file(&self, scope: Scope, file: &UnitFile) -> Reply<'_, Option<Content>> {
        let file = file.clone();
        Box::pin(async move { self.disk(scope)?.unit_file(&file) })
    }

    fn edits(&self, scope: Scope, unit: &str) -> Reply<'_, Vec<Edit>> {
        let unit = unit.to_owned();
        Box::pin(async move { Ok(edits::edits(&self.disk(scope)?, &unit)) })
    }

    fn verify(&self, scope: Scope, file: &UnitFile, text: &str) -> Reply<'_, Vec<String>> {
        let (file, text) = (file.clone(), text.to_owned());
        Box::pin(async move { self.disk(scope)?.verify(&file, &text).await })
    }

    fn write(&self, scope: Scope, file: &UnitFile, text: &str) -> Reply<'_, String> {
        let (file, text) = (file.clone(), text.to_owned());
        Box::pin(async move { self.disk(scope)?.write(&file, &text) })
    }

    fn remove(&self, scope: Scope, file: &UnitFile) -> Reply<'_, bool> {
        let file = file.clone();
        Box::pin(async move { self.disk(scope)?.remove(&file) })
    }

    fn journal(
        &self,
        scope: Scope,
        query: JournalQuery,
        follow: Option<Duration>,
    ) -> Reply<'_, Vec<JournalEntry>> {
        // A user without files of their own may still read their entries.
        let disk = Disk { root: self.root.clone(), lasting: PathBuf::new(), runtime: PathBuf::new(), scope };
        Box::pin(async move { disk.journal(&query, follow).await })
    }

    fn changes(&self, scope: Scope) -> Reply<'_, Changes> {
        Box::pin(async move { changes::changes(self.bus(scope).await?).await })
    }
}
