//! NVIDIA's cards over NVML (docs.nvidia.com/deploy/nvml-api), through the crate `nvml-wrapper`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, Nvml};

use crate::CARDS_MAX;
use crate::port::{Card, Fault, GpuProcess, Memory, Sensors, Utilization, Vendor, Work};

/// Where the library lies: what the linker knows, and NixOS' place for drivers.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"];

/// The library, loaded when it is first needed and again after it lost its driver.
pub(super) struct Library {
    paths: Vec<PathBuf>,
    loaded: Option<Nvml>,
}

/// Why NVML does not answer.
pub(super) struct Refusal(NvmlError);

impl Refusal {
    /// Whether that is what a machine without NVIDIA's software says.
    pub(super) fn is_absence(&self) -> bool {
        matches!(
            self.0,
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded
        )
    }

    fn message(&self) -> String {
        match self.0 {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                "NVIDIA's library libnvidia-ml.so.1 is not installed".to_owned()
            }
            NvmlError::DriverNotLoaded => "NVIDIA's driver is not loaded".to_owned(),
            NvmlError::LibRmVersionMismatch => {
                "NVIDIA's driver and library are of different versions".to_owned()
            }
            ref other => format!("NVIDIA's library: {other}"),
        }
    }

    fn cure(&self) -> Option<&'static str> {
        match self.0 {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                Some("install the driver with its libraries")
            }
            NvmlError::DriverNotLoaded => {
                Some("modprobe nvidia; after an update of the kernel the module has to be built for it")
            }
            NvmlError::LibRmVersionMismatch => {
                Some("an update replaced the library under the loaded driver: restart the machine")
            }
            NvmlError::NoPermission => Some("run hob as a user who may open /dev/nvidiactl"),
            _ => None,
        }
    }

    /// For a person who looks at one card.
    pub(super) fn told(&self) -> String {
        match self.cure() {
            Some(cure) => format!("{} ({cure})", self.message()),
            None => self.message(),
        }
    }

    /// For a person who sees no card at all.
    pub(super) fn fault(&self) -> Fault {
        Fault { message: self.message(), cure: self.cure() }
    }
}

/// What a card that the driver lost says.
const LOST: &str = "it is lost: it fell off the bus or hangs, and comes back when the machine restarts";

impl Library {
    /// The library at `path`, or where systems have it.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let paths = path.map_or_else(|| LIBRARIES.map(PathBuf::from).to_vec(), |path| vec![path]);
        Self { paths, loaded: None }
    }

    /// Asks the library. One that no longer has its driver is loaded anew the next time.
    fn ask<T>(&mut self, ask: impl FnOnce(&Nvml) -> Result<T, NvmlError>) -> Result<T, Refusal> {
        let nvml = match self.loaded.take() {
            Some(nvml) => nvml,
            None => self.load().map_err(Refusal)?,
        };
        let answer = ask(&nvml).map_err(Refusal)?;
        self.loaded = Some(nvml);
        Ok(answer)
    }

    fn load(&self) -> Result<Nvml, NvmlError> {
        let mut refusal = NvmlError::LibraryNotFound;
        for path in &self.paths {
            match Nvml::builder().lib_path(path.as_os_str()).init() {
                Ok(nvml) => return Ok(nvml),
                Err(NvmlError::LibloadingError(_)) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// NVIDIA's cards.
    pub(super) fn cards(&mut self) -> Result<Vec<Card>, Refusal> {
        self.ask(|nvml| {
            let driver = nvml.sys_driver_version().ok();
            let count = nvml.device_count()?.min(u32::try_from(CARDS_MAX).unwrap_or(u32::MAX));
            (0..count).map(|index| card(nvml, index, driver.as_deref())).collect()
        })
    }

    /// The processes on NVIDIA's cards.
    pub(super) fn processes(&mut self) -> Result<Vec<GpuProcess>, Refusal> {
        self.ask(|nvml| {
            let mut all = Vec::new();
            for index in 0..nvml.device_count()? {
                // A card that is lost has no processes; its state tells why.
                let Ok(device) = nvml.device_by_index(index) else { continue };
                let Ok(card) = device.uuid() else { continue };
                all.extend(processes(&device, &card));
            }
            Ok(all)
        })
    }
}

fn card(nvml: &Nvml, index: u32, driver: Option<&str>) -> Result<Card, NvmlError> {
    let lost = |id: String| {
        let mut card = Card::new(Vendor::Nvidia, id, "NVIDIA GPU");
        card.index = Some(index);
        card.driver = driver.map(str::to_owned);
        card.problem = Some(LOST.to_owned());
        card
    };
    let device = match nvml.device_by_index(index) {
        Ok(device) => device,
        Err(NvmlError::GpuLost | NvmlError::Unknown) => return Ok(lost(format!("nvidia {index}"))),
        Err(other) => return Err(other),
    };
    let pci = device.pci_info().ok().map(|it| address(&it.bus_id));
    let id = match device.uuid() {
        Ok(id) => id,
        Err(_) => {
            let id = pci.clone().unwrap_or_else(|| format!("nvidia {index}"));
            return Ok(Card { pci, ..lost(id) });
        }
    };
    let mut card = Card::new(Vendor::Nvidia, id, device.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned()));
    card.pci = pci;
    card.index = Some(index);
    card.driver = driver.map(str::to_owned);
    card.minor = device.minor_number().ok();
    card.compute = device
        .cuda_compute_capability()
        .ok()
        .and_then(|it| Some((u32::try_from(it.major).ok()?, u32::try_from(it.minor).ok()?)));
    match device.memory_info() {
        Ok(it) => card.memory = Some(Memory { total: it.total, used: it.used, reserved: it.reserved }),
        Err(NvmlError::GpuLost | NvmlError::ResetRequired) => card.problem = Some(LOST.to_owned()),
        // Older drivers do not know this question, and cards that share the machine's memory have no answer.
        Err(_) => {}
    }
    card.utilization = utilization(&device);
    card.sensors = sensors(&device);
    card.ecc = device.is_ecc_enabled().ok().map(|it| it.currently_enabled);
    card.mig = device.mig_mode().ok().map(|mode| mode.current != 0);
    Ok(card)
}

/// NVML writes the domain with eight digits, the kernel with four.
fn address(bus_id: &str) -> String {
    let id = bus_id.to_ascii_lowercase();
    match id.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[4..])
        }
        _ => id,
    }
}

fn utilization(device: &Device<'_>) -> Utilization {
    let rates = device.utilization_rates().ok();
    Utilization {
        gpu: rates.as_ref().map(|it| it.gpu),
        memory: rates.as_ref().map(|it| it.memory),
        encoder: device.encoder_utilization().ok().map(|it| it.utilization),
        decoder: device.decoder_utilization().ok().map(|it| it.utilization),
    }
}

fn sensors(device: &Device<'_>) -> Sensors {
    Sensors {
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        power_draw: device.power_usage().ok(),
        power_limit: device.enforced_power_limit().ok(),
        fan: device.fan_speed(0).ok(),
        clock_graphics: device.clock_info(Clock::Graphics).ok(),
        clock_memory: device.clock_info(Clock::Memory).ok(),
        pcie_generation: device.current_pcie_link_gen().ok(),
        pcie_width: device.current_pcie_link_width().ok(),
        encoder_sessions: device.encoder_stats().ok().map(|it| it.session_count),
    }
}

/// A process that both computes and draws is told once; NVML gives its memory with each.
fn processes(device: &Device<'_>, card: &str) -> Vec<GpuProcess> {
    let compute = device.running_compute_processes().unwrap_or_default();
    let graphics = device.running_graphics_processes().unwrap_or_default();
    let told = graphics
        .into_iter()
        .map(|process| (Work::Graphics, process))
        .chain(compute.into_iter().map(|process| (Work::Compute, process)));
    let by_pid: BTreeMap<u32, (Work, ProcessInfo)> =
        told.map(|(work, process)| (process.pid, (work, process))).collect();
    let process = |(pid, (work, process)): (u32, (Work, ProcessInfo))| GpuProcess {
        card: card.to_owned(),
        pid,
        name: None,
        work,
        memory: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        container: None,
        unit: None,
        parents: Vec::new(),
    };
    by_pid.into_iter().map(process).collect()
}
