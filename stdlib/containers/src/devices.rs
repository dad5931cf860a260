//! Devices of a container, by path and by CDI name.

use bollard::models;
use hob_model::{OpError, Value};
use hob_primitive::{FromValue, Mismatch, Nested, Options};

use crate::read::{Texts, mismatch};

#[derive(Options)]
struct LongDevice {
    /// A path on the host.
    source: String,
    /// Where it appears in the container; at the same place unless given.
    target: Option<String>,
    /// What may be done with it: `r`, `w`, `m`.
    permissions: Option<String>,
}

/// Devices: `"/dev/dri"`, `"/dev/ttyUSB0:/dev/zigbee:rwm"`, `#{ source, target, permissions }`, CDI names such as
/// `"nvidia.com/gpu=all"`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Devices {
    /// Devices by path.
    pub paths: Vec<models::DeviceMapping>,
    /// Devices by CDI name.
    pub cdi: Vec<String>,
}

impl FromValue for Devices {
    const KIND: &'static str = "array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let short = |item| match item {
            Value::Map(_) => Nested::<LongDevice>::read(item).map(|long| {
                let target = long.target.unwrap_or_else(|| long.source.clone());
                format!("{}:{target}:{}", long.source, long.permissions.as_deref().unwrap_or("rwm")).into()
            }),
            other => Ok(other),
        };
        let value = match value {
            Value::Array(items) => Value::Array(items.into_iter().map(short).collect::<Result<_, _>>()?),
            other => other,
        };
        let mut devices = Self::default();
        for text in Texts::from_value(value)?.0 {
            if is_cdi(&text) {
                devices.cdi.push(text);
                continue;
            }
            let parts: Vec<&str> = text.split(':').collect();
            let (host, container, rights) = match parts[..] {
                [host] => (host, host, "rwm"),
                [host, second] if !second.starts_with('/') => (host, host, second),
                [host, container] => (host, container, "rwm"),
                [host, container, rights] => (host, container, rights),
                _ => ("", "", ""),
            };
            let rights_known = !rights.is_empty() && rights.chars().all(|right| "rwm".contains(right));
            if !host.starts_with('/') || !container.starts_with('/') || !rights_known {
                return Err(mismatch(
                    format!("\"{text}\" is no device"),
                    "write \"/dev/dri\", \"/dev/ttyUSB0:/dev/zigbee:rwm\" or a CDI name like \"nvidia.com/gpu=all\"",
                ));
            }
            devices.paths.push(models::DeviceMapping {
                path_on_host: Some(host.to_owned()),
                path_in_container: Some(container.to_owned()),
                cgroup_permissions: Some(rights.to_owned()),
            });
        }
        Ok(devices)
    }
}

impl Devices {
    /// Puts devices in the place of the CDI names of `kind`, which stand for them.
    ///
    /// # Errors
    /// When one of them is no device.
    pub(crate) fn stand_for(&mut self, kind: &str, devices: &[String]) -> Result<(), OpError> {
        let stands = |name: &String| name.split_once('=').is_some_and(|(its, _)| its == kind);
        if !self.cdi.iter().any(stands) {
            return Ok(());
        }
        self.cdi.retain(|name| !stands(name));
        let named = Self::from_value(Value::from(devices.to_vec()));
        let named = named.map_err(|error| OpError::invalid(error.message))?;
        self.cdi.extend(named.cdi);
        self.paths.extend(named.paths);
        Ok(())
    }
}

/// Whether it is `vendor.com/class=name`.
fn is_cdi(text: &str) -> bool {
    let good = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
    };
    match text.split_once('=').and_then(|(kind, name)| Some((kind.split_once('/')?, name))) {
        Some(((vendor, class), name)) => good(vendor) && good(class) && good(name),
        None => false,
    }
}
