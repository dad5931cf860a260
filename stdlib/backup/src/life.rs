//! What a source holds still as long as: once that has ended, nobody knows what was copied.

use hob_model::{OpError, Value};
use hob_primitive::{Ctx, FromValue, Mismatch, Nested, Options, Services};

use crate::port::Backups;

/// How it is written.
#[derive(Clone, Debug, Options)]
struct LifeOptions {
    /// The boot of this machine, as `/proc/sys/kernel/random/boot_id` has it.
    boot: Option<String>,
    /// A service of the homelab.
    service: Option<String>,
    /// Its life, as `services::status` has it; empty where it does not run.
    instance: Option<String>,
}

/// A boot of this machine, and a life of a service.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    boot: Option<String>,
    service: Option<(String, String)>,
}

impl FromValue for Life {
    const KIND: &'static str = "map";

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let read: LifeOptions = Nested::read(value)?;
        let service = read.service.map(|service| (service, read.instance.unwrap_or_default()));
        Ok(Self { boot: read.boot, service })
    }
}

impl Life {
    /// Whether it goes on.
    ///
    /// # Errors
    /// `conflict` when it has ended, and those of [`Services::status`].
    pub(crate) fn check(&self, cx: &Ctx) -> Result<(), OpError> {
        let ended = |what: &str| {
            let text =
                format!("{what} while it was to hold still: what was copied may be torn, and is no backup");
            Err(OpError::conflict(text).hint("have it hold still again, and begin anew"))
        };
        if let Some(boot) = &self.boot
            && *boot != cx.port::<dyn Backups>()?.boot()?
        {
            return ended("this machine was started anew");
        }
        if let Some((service, instance)) = &self.service {
            let status = cx.port::<dyn Services>()?.status(service)?;
            if status.get("instance").and_then(Value::as_str).unwrap_or_default() != instance {
                return ended(&format!("`{service}` began a new life"));
            }
        }
        Ok(())
    }
}
