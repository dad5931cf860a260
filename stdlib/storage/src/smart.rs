//! The operations that tell how disks are, through `smartctl` of smartmontools.

pub(crate) use operations::{all, primitive};

use hob_primitive::primitive;

/// What tells how disks are; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::time::Duration;

    use hob_model::{ErrorKind, OpError, Value};
    use hob_primitive::{Ctx, Options, PathText};

    use crate::disk;
    use crate::tools::{Answer, Tools};

    /// What asks disks.
    const PROGRAM: &str = "smartctl";

    /// The most disks that are asked in one call.
    const DISKS_MAX: usize = 256;

    /// The bits of its exit status that say that nothing could be asked (`smartctl(8)`): its command line, and the device.
    const NOT_ASKED: i32 = 0b11;

    /// Options of `storage::smart` and `storage::disks`.
    #[derive(Debug, Options)]
    struct SmartOptions {
        /// Whether disks that sleep are woken.
        #[option(default = "false")]
        wake: bool,
        /// How long a disk may take to answer.
        #[option(default = "Duration::from_secs(30)")]
        patience: Duration,
        /// How it is reached, where `smartctl` does not see that itself: `"sat"`, `"megaraid,2"`.
        r#type: Option<String>,
    }

    /// Tells how a disk is, as it tells of itself (SMART), without waking it.
    ///
    /// It gives `device`, `model`, `serial`, `firmware`, `bytes`, `asleep`, `healthy`, `temperature` in degrees Celsius, `hours`
    /// it ran, `wear` in per cent of what it is built for, `reallocated`, `pending` and `uncorrectable` sectors, `media_errors`,
    /// and `problems`, each in words. What a disk does not tell is `()`. One that sleeps is not asked, and tells `asleep: true`
    /// and nothing else. `healthy` is `false` as soon as there is a problem: also one that the disk itself passes over.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there is no such disk, or no `smartctl` (the package smartmontools), with `denied` without
    /// root, and with `timeout` when the disk does not answer.
    ///
    /// ```rhai,no_run
    /// let disk = storage::smart("/dev/sda");
    /// if disk.healthy == false { log::error(`${disk.model} ${disk.serial}: ${disk.problems}`) }
    /// ```
    #[operation(observe, permission = "storage.smart:{device}", returns = "map", timeout = "2m")]
    fn smart(cx: &Ctx, device: PathText, options: SmartOptions) -> Result<Value, OpError> {
        let device = cx.resolve(&device.0);
        let tools = cx.port::<dyn Tools>()?;
        ask(&*tools, &device.to_string_lossy(), options.r#type.as_deref(), &options)
    }

    /// Tells of all disks what `storage::smart` tells of one, in the order in which `smartctl --scan` finds them.
    ///
    /// A disk that cannot be asked has `device`, `asleep: false`, and why in `problems`; `healthy` is `()` then, because nobody
    /// knows. Partitions, loop devices and disks of virtual machines, which tell nothing of themselves, are not among them.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there is no `smartctl` (the package smartmontools).
    ///
    /// ```rhai,no_run
    /// for disk in storage::disks() {
    ///     if disk.problems != [] { log::warn(`${disk.device}: ${disk.problems}`) }
    /// }
    /// ```
    #[operation(observe, permission = "storage.smart:*", returns = "array", timeout = "10m")]
    fn disks(cx: &Ctx, options: SmartOptions) -> Result<Value, OpError> {
        let tools = cx.port::<dyn Tools>()?;
        Ok(Value::Array(asked(&*tools, &options)?))
    }

    /// All disks, without waking one; each may take so long to answer.
    pub(crate) fn all(tools: &dyn Tools, patience: Duration) -> Result<Vec<Value>, OpError> {
        asked(tools, &SmartOptions { wake: false, patience, r#type: None })
    }

    fn asked(tools: &dyn Tools, options: &SmartOptions) -> Result<Vec<Value>, OpError> {
        let scanned = run(tools, &["--json=c", "--scan"], options.patience)?.done(PROGRAM)?;
        let found = disk::scanned(&scanned.json(PROGRAM)?);
        if found.len() > DISKS_MAX {
            return Err(OpError::invalid(format!("more than {DISKS_MAX} disks"))
                .hint("ask some of them with storage::smart"));
        }
        let asked = found.into_iter().map(|(device, kind)| {
            let kind = options.r#type.clone().or(kind);
            match ask(tools, &device, kind.as_deref(), options) {
                Err(error) if error.kind != ErrorKind::Cancelled => Ok(disk::silent(&device, &error.message)),
                other => other,
            }
        });
        asked.collect()
    }

    fn ask(
        tools: &dyn Tools,
        device: &str,
        kind: Option<&str>,
        options: &SmartOptions,
    ) -> Result<Value, OpError> {
        let mut args = vec!["--json=c", "--all"];
        if !options.wake {
            args.push("--nocheck=standby");
        }
        args.extend(kind.into_iter().flat_map(|kind| ["--device", kind]));
        args.push(device);
        let answer = run(tools, &args, options.patience)?;
        let told = answer.json(PROGRAM)?;
        if disk::is_asleep(&told) {
            return Ok(disk::asleep(device));
        }
        let status = answer.status.unwrap_or(NOT_ASKED);
        if status & NOT_ASKED != 0 {
            return Err(refused(device, &told));
        }
        Ok(disk::described(device, &told, status))
    }

    fn refused(device: &str, told: &serde_json::Value) -> OpError {
        let said = disk::complaint(told);
        let text = format!("{device} cannot be asked: {said}");
        let lower = said.to_lowercase();
        if lower.contains("no such") {
            return OpError::not_found(text).nothing_happened();
        }
        if lower.contains("permission denied") {
            return OpError::denied(text).hint("only root may ask disks").nothing_happened();
        }
        OpError::unavailable(text)
            .hint("`type` says how a disk behind a controller or in a USB case is reached: \"sat\"")
    }

    fn run(tools: &dyn Tools, args: &[&str], patience: Duration) -> Result<Answer, OpError> {
        tools.run(PROGRAM, args, patience).map_err(|error| match error.kind {
            ErrorKind::NotFound => error.hint("install smartmontools"),
            _ => error,
        })
    }
}
