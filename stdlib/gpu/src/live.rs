//! The cards of this machine: NVIDIA's over NVML, the rest from the kernel's `/sys` and `/proc`.

#![allow(clippy::disallowed_methods)] // the adapter

mod bus;
mod clients;
mod nvml;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::port::{Card, CdiFile, Fault, GpuPort, GpuProcess, Looking, Vendor};
use crate::{CARDS_MAX, CDI_BYTES_MAX};

/// Where engines look for specifications; a later directory takes precedence (CDI 0.8).
const CDI_DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// How many specifications are read.
const CDI_FILES_MAX: usize = 100;

/// The most that is read of a file of the kernel, in bytes.
const KERNEL_FILE_BYTES_MAX: u64 = 64 << 10;

/// The machine that hob runs on.
pub struct LiveGpu {
    look: Arc<Look>,
    /// One look at a time: a driver that hangs keeps one thread, not one for each who asks.
    turn: Arc<Semaphore>,
}

struct Look {
    root: PathBuf,
    nvml: Mutex<nvml::Library>,
}

impl Default for LiveGpu {
    fn default() -> Self {
        Self::new()
    }
}

impl LiveGpu {
    /// This machine, with NVIDIA's library where the linker finds it.
    #[must_use]
    pub fn new() -> Self {
        Self::of("/", None)
    }

    /// A machine whose `/sys`, `/proc`, `/dev` and `/etc` lie below `root`, with NVIDIA's library at `library`.
    #[must_use]
    pub fn of(root: impl Into<PathBuf>, library: Option<PathBuf>) -> Self {
        let look = Look { root: root.into(), nvml: Mutex::new(nvml::Library::new(library)) };
        Self { look: Arc::new(look), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Looks on a thread that may wait for a driver.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Look) -> Result<T, Fault> + Send + 'static,
    ) -> Looking<'_, T> {
        Box::pin(async move {
            let broken = |what: &dyn std::fmt::Display| Fault { message: what.to_string(), cure: None };
            let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|error| broken(&error))?;
            let machine = Arc::clone(&self.look);
            let looked = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                look(&machine)
            });
            looked.await.map_err(|error| broken(&error))?
        })
    }
}

impl GpuPort for LiveGpu {
    fn cards(&self) -> Looking<'_, Vec<Card>> {
        self.look(Look::cards)
    }

    fn processes(&self) -> Looking<'_, Vec<GpuProcess>> {
        self.look(Look::processes)
    }

    fn cdi_files(&self) -> Looking<'_, Vec<CdiFile>> {
        self.look(|look| Ok(look.cdi_files()))
    }

    fn exist(&self, paths: Vec<PathBuf>) -> Looking<'_, Vec<bool>> {
        self.look(move |look| Ok(paths.iter().map(|path| look.path(path).exists()).collect()))
    }
}

impl Look {
    /// A path of the machine.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A short file of the kernel without the space around it.
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut text = String::new();
        let file = std::fs::File::open(self.path(path)).ok()?;
        file.take(KERNEL_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned())
    }

    /// The names in a directory, sorted.
    fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn cards(&self) -> Result<Vec<Card>, Fault> {
        let mut cards: BTreeMap<String, Card> =
            bus::cards(self).into_iter().filter_map(|card| Some((card.pci.clone()?, card))).collect();
        let mut library = self.nvml.lock().unwrap_or_else(PoisonError::into_inner);
        let nvidia = |card: &Card| card.vendor == Vendor::Nvidia;
        match library.cards() {
            Ok(told) => {
                for card in told {
                    let place = card.pci.clone().unwrap_or_else(|| card.id.clone());
                    let render_node = cards.get(&place).and_then(|known| known.render_node.clone());
                    cards.insert(place, Card { render_node, ..card });
                }
            }
            Err(refusal) if cards.values().any(nvidia) => {
                for card in cards.values_mut().filter(|card| nvidia(card)) {
                    card.problem = Some(refusal.told());
                }
            }
            // Without a card nobody misses the library.
            Err(refusal) if refusal.is_absence() => {}
            Err(refusal) => return Err(refusal.fault()),
        }
        Ok(cards.into_values().take(CARDS_MAX).collect())
    }

    fn processes(&self) -> Result<Vec<GpuProcess>, Fault> {
        let others = bus::cards(self).iter().any(|card| card.vendor != Vendor::Nvidia);
        let mut all = if others { clients::of(self) } else { Vec::new() };
        let mut library = self.nvml.lock().unwrap_or_else(PoisonError::into_inner);
        match library.processes() {
            Ok(found) => all.extend(found),
            Err(refusal) if refusal.is_absence() => {}
            Err(refusal) => return Err(refusal.fault()),
        }
        for process in &mut all {
            process.name = self.text(format!("/proc/{}/comm", process.pid));
            let groups = self.text(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
            (process.container, process.unit) = clients::owner(&groups);
            process.parents = clients::parents(self, process.pid);
        }
        Ok(all)
    }

    fn cdi_files(&self) -> Vec<CdiFile> {
        let specification = |name: &String| {
            let extension = Path::new(name).extension().and_then(|it| it.to_str());
            matches!(extension, Some("json" | "yaml" | "yml"))
        };
        let paths = CDI_DIRECTORIES.iter().flat_map(|directory| {
            let names = self.names(directory).into_iter().filter(specification);
            names.map(move |name| Path::new(directory).join(name))
        });
        let read = |path: PathBuf| {
            let mut text = String::new();
            let file = std::fs::File::open(self.path(&path)).ok()?;
            file.take(CDI_BYTES_MAX).read_to_string(&mut text).ok()?;
            Some(CdiFile { path, text })
        };
        paths.take(CDI_FILES_MAX).filter_map(read).collect()
    }
}
