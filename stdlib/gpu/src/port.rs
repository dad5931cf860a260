//! What is known about graphics cards, and who finds it out.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// What looking at the cards gives, some time.
pub type Looking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Who made a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// PCI vendor 10de.
    Nvidia,
    /// PCI vendor 1002.
    Amd,
    /// PCI vendor 8086.
    Intel,
}

impl Vendor {
    /// As scripts write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
            Self::Intel => "intel",
        }
    }
}

/// Memory of a card, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs hold.
    pub used: u64,
    /// What the driver keeps for itself.
    pub reserved: u64,
}

impl Memory {
    /// What can still be had.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.total.saturating_sub(self.used).saturating_sub(self.reserved)
    }
}

/// How busy the engines of a card are, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utilization {
    /// Computing and drawing.
    pub gpu: Option<u32>,
    /// Reading and writing its memory.
    pub memory: Option<u32>,
    /// Encoding video.
    pub encoder: Option<u32>,
    /// Decoding video.
    pub decoder: Option<u32>,
}

/// What a card measures of itself. What it cannot tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sensors {
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Power drawn, in milliwatts.
    pub power_draw: Option<u32>,
    /// The most that it draws, in milliwatts.
    pub power_limit: Option<u32>,
    /// Speed of the fan in percent of its highest.
    pub fan: Option<u32>,
    /// Clock of the graphics engine in MHz.
    pub clock_graphics: Option<u32>,
    /// Clock of the memory in MHz.
    pub clock_memory: Option<u32>,
    /// Generation of PCI Express in use.
    pub pcie_generation: Option<u32>,
    /// Lanes of PCI Express in use.
    pub pcie_width: Option<u32>,
    /// Videos that are being encoded.
    pub encoder_sessions: Option<u32>,
}

/// A graphics card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Who made it.
    pub vendor: Vendor,
    /// Its lasting name: the UUID of NVML, or the PCI address.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its address on the bus, `0000:01:00.0`.
    pub pci: Option<String>,
    /// Version of the driver, or its name where it has none of its own.
    pub driver: Option<String>,
    /// Its number in NVML, which names it for `nvidia-ctk`.
    pub index: Option<u32>,
    /// The `N` of its `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// Its render node, such as `/dev/dri/renderD128`.
    pub render_node: Option<PathBuf>,
    /// Compute capability of CUDA.
    pub compute: Option<(u32, u32)>,
    /// Its memory; absent where it shares the machine's.
    pub memory: Option<Memory>,
    /// How busy it is.
    pub utilization: Utilization,
    /// What it measures.
    pub sensors: Sensors,
    /// Whether its memory is protected by error correction.
    pub ecc: Option<bool>,
    /// Whether it is divided into instances (MIG).
    pub mig: Option<bool>,
    /// Why it cannot be used; absent for one that can.
    pub problem: Option<String>,
}

impl Card {
    /// A card of which nothing else is known.
    #[must_use]
    pub fn new(vendor: Vendor, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            vendor,
            id: id.into(),
            name: name.into(),
            pci: None,
            driver: None,
            index: None,
            minor: None,
            render_node: None,
            compute: None,
            memory: None,
            utilization: Utilization::default(),
            sensors: Sensors::default(),
            ecc: None,
            mig: None,
            problem: None,
        }
    }
}

/// What a process does on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// It computes (CUDA, OpenCL).
    Compute,
    /// It draws.
    Graphics,
    /// The kernel does not tell which.
    Unknown,
}

impl Work {
    /// As scripts see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Graphics => "graphics",
            Self::Unknown => "unknown",
        }
    }
}

/// A process that uses a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuProcess {
    /// The card's `id`.
    pub card: String,
    /// Number of the process.
    pub pid: u32,
    /// Its program's name; absent when it ended in between.
    pub name: Option<String>,
    /// What it does there.
    pub work: Work,
    /// Memory of the card that it holds, in bytes; absent where the driver does not tell.
    pub memory: Option<u64>,
    /// The container it runs in, by full id.
    pub container: Option<String>,
    /// The unit of systemd it runs in.
    pub unit: Option<String>,
    /// The processes that it descends from, the nearest first.
    pub parents: Vec<u32>,
}

/// A file with a specification of the Container Device Interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdiFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Why the cards cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was said.
    pub message: String,
    /// What can be done about it.
    pub cure: Option<&'static str>,
}

/// Looks at graphics cards.
pub trait GpuPort: Send + Sync {
    /// The cards, in the order of their addresses on the bus.
    fn cards(&self) -> Looking<'_, Vec<Card>>;

    /// The processes that use them.
    fn processes(&self) -> Looking<'_, Vec<GpuProcess>>;

    /// The specifications of the Container Device Interface, those that take precedence last.
    fn cdi_files(&self) -> Looking<'_, Vec<CdiFile>>;

    /// Which of these paths exist.
    fn exist(&self, paths: Vec<PathBuf>) -> Looking<'_, Vec<bool>>;
}
