//! ext4, whose errors the kernel counts.

use hob_model::OpError;
use hob_planner::Mounted;

use super::{Device, FileSystem, Health, World};

pub(super) struct Ext4;

impl FileSystem for Ext4 {
    fn name(&self) -> &'static str {
        "ext4"
    }

    fn types(&self) -> &'static [&'static str] {
        &["ext4"]
    }

    fn health(&self, world: &World, holder: &Mounted) -> Result<Health, OpError> {
        let errors = world.tiers.ext4_errors(&holder.device).ok_or_else(|| {
            OpError::unavailable(format!("the kernel does not tell of errors on {}", holder.device))
                .hint("is /sys mounted, and the device this machine's own?")
        })?;
        let counts = vec![("errors".to_owned(), errors)];
        let device = Device { name: holder.device.clone(), state: None, counts };
        Ok(Health { more: Vec::new(), sound: true, devices: vec![device] })
    }
}
