//! Cards on the PCI bus, as `/sys/bus/pci/devices` shows them (Documentation/ABI/testing/sysfs-bus-pci of Linux), with what
//! the driver `amdgpu` tells (Documentation/gpu/amdgpu/thermal.rst and driver-misc.rst).

use std::path::{Path, PathBuf};

use super::Look;
use crate::port::{Card, Memory, Vendor};

const DEVICES: &str = "/sys/bus/pci/devices";

/// Base class and subclass of what can draw or compute: VGA, 3D, other display controllers.
const CLASSES: [&str; 3] = ["0x0300", "0x0302", "0x0380"];

/// The cards on the bus, in the order of their addresses.
pub(super) fn cards(look: &Look) -> Vec<Card> {
    look.names(DEVICES).into_iter().filter_map(|address| card(look, &address)).collect()
}

fn card(look: &Look, address: &str) -> Option<Card> {
    let device = Path::new(DEVICES).join(address);
    let class = look.text(device.join("class"))?;
    if !CLASSES.iter().any(|known| class.starts_with(known)) {
        return None;
    }
    let vendor_id = look.text(device.join("vendor"))?;
    let (vendor, maker) = match vendor_id.as_str() {
        "0x10de" => (Vendor::Nvidia, "NVIDIA"),
        "0x1002" => (Vendor::Amd, "AMD"),
        "0x8086" => (Vendor::Intel, "Intel"),
        _ => return None,
    };
    let device_id = look.text(device.join("device")).unwrap_or_default();
    let digits = |id: &str| id.trim_start_matches("0x").to_owned();
    let name = format!("{maker} GPU {}:{}", digits(&vendor_id), digits(&device_id));
    let mut card = Card::new(vendor, address, name);
    card.pci = Some(address.to_owned());
    card.driver = look.text(device.join("uevent")).as_deref().and_then(|it| variable(it, "DRIVER"));
    let nodes = look.names(device.join("drm"));
    let render = nodes.into_iter().find(|name| name.starts_with("renderD"));
    card.render_node = render.map(|name| PathBuf::from("/dev/dri").join(name));
    if card.driver.is_none() {
        card.problem = Some("no driver of the kernel drives it".to_owned());
    }
    if vendor != Vendor::Nvidia {
        measure(look, &device, &mut card);
    }
    Some(card)
}

/// The value of `NAME=value` in a file of such lines.
fn variable(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn measure(look: &Look, device: &Path, card: &mut Card) {
    let number = |path: PathBuf| look.text(path)?.parse::<u64>().ok();
    let small = |value: u64| u32::try_from(value).ok();
    if let (Some(total), Some(used)) =
        (number(device.join("mem_info_vram_total")), number(device.join("mem_info_vram_used")))
    {
        card.memory = Some(Memory { total, used, reserved: 0 });
    }
    card.utilization.gpu = number(device.join("gpu_busy_percent")).and_then(small);
    card.utilization.memory = number(device.join("mem_busy_percent")).and_then(small);
    let width = look.text(device.join("current_link_width"));
    card.sensors.pcie_width = width.and_then(|width| width.parse().ok());
    let Some(monitor) = look.names(device.join("hwmon")).into_iter().next() else { return };
    let monitor = device.join("hwmon").join(monitor);
    // Millidegrees, microwatts, hertz.
    let scaled = |name: &str, by: u64| number(monitor.join(name)).and_then(|value| small(value / by));
    card.sensors.temperature = scaled("temp1_input", 1000);
    card.sensors.power_draw = scaled("power1_average", 1000).or_else(|| scaled("power1_input", 1000));
    card.sensors.power_limit = scaled("power1_cap", 1000);
    card.sensors.clock_graphics = scaled("freq1_input", 1_000_000);
    card.sensors.clock_memory = scaled("freq2_input", 1_000_000);
}
