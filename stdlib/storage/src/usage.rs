//! The operations that tell how full file systems are and what is mounted.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What tells; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use hob_model::{OpError, Timestamp, Value};
    use hob_planner::{AUTOMOUNT, Mounted};
    use hob_primitive::{Ctx, Options, PathText};
    use hob_supervisor::storage::Answer;

    use crate::forecast::{Sample, slope};
    use crate::roots;
    use crate::tier::{Space, Tiers};

    /// The most samples that a forecast looks at: one an hour for ten years.
    const SAMPLES_MAX: usize = 100_000;

    /// The most mounts that are asked at the same time.
    const ASKED_MAX: usize = 64;

    const DAY_SECONDS: f64 = 24.0 * 60.0 * 60.0;

    /// Options of `storage::usage`.
    #[derive(Debug, Options)]
    struct UsageOptions {
        /// How long the file system may take to answer.
        #[option(default = "crate::PATIENCE")]
        patience: Duration,
    }

    /// Tells how full the file system of a path is, in bytes and in inodes, and which one it is.
    ///
    /// It gives `bytes`, `used`, `free` (what everybody can take), `percent` as `df` counts; `inodes`, `inodes_free` and
    /// `inodes_percent` (0 where there is no such limit); and `mount`, `device`, `type` and `uuid` of the file system, which
    /// is `()` where it has none, and `at`, the time.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there is nothing at the path, and with `timeout` when its file system does not answer,
    /// as one does whose server is gone: hob goes on.
    ///
    /// ```rhai
    /// let disk = storage::usage(".");
    /// disk.free <= disk.bytes && disk.percent <= 100.0
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "map")]
    fn usage(cx: &Ctx, path: PathText, options: UsageOptions) -> Result<Value, OpError> {
        let path = cx.resolve(&path.0);
        let tiers = cx.port::<dyn Tiers>()?;
        let space = tiers.space(&path, options.patience)?;
        let mounts = tiers.mounted()?;
        let holder = roots::holder(&mounts, &path);
        let mut map = described(&space);
        map.extend(holder.into_iter().flat_map(|it| mount(it, tiers.uuid(&it.device))));
        map.insert("at", Value::from(cx.now().to_string()));
        Ok(Value::map(map))
    }

    fn described(space: &Space) -> BTreeMap<&'static str, Value> {
        #[allow(clippy::cast_precision_loss)] // per cents need no more
        let inodes_percent = match space.inodes {
            0 => 0.0,
            inodes => 100.0 * inodes.saturating_sub(space.inodes_free) as f64 / inodes as f64,
        };
        BTreeMap::from([
            ("bytes", Value::from(space.bytes)),
            ("used", Value::from(space.bytes_used())),
            ("free", Value::from(space.bytes_available)),
            ("percent", Value::Float(space.percent_used())),
            ("inodes", Value::from(space.inodes)),
            ("inodes_free", Value::from(space.inodes_free)),
            ("inodes_percent", Value::Float(inodes_percent)),
        ])
    }

    fn mount(mounted: &Mounted, uuid: Option<String>) -> [(&'static str, Value); 4] {
        [
            ("mount", Value::from(mounted.path.to_string_lossy().into_owned())),
            ("device", Value::from(mounted.device.as_str())),
            ("type", Value::from(mounted.fs_type.as_str())),
            ("uuid", Value::from(uuid)),
        ]
    }

    /// Options of `storage::mounts`.
    #[derive(Debug, Options)]
    struct MountsOptions {
        /// Only those of this type: `"nfs4"`.
        r#type: Option<String>,
        /// Whether each is asked if it answers: those whose server is gone do not.
        #[option(default = "false")]
        ask: bool,
        /// How long they may take to answer.
        #[option(default = "crate::PATIENCE")]
        patience: Duration,
    }

    /// Lists what is mounted, as the kernel tells: `path`, `device`, `type`, `uuid`, in the order of mounting.
    ///
    /// With `ask: true` each has `answers` as well, and `stale`: whether it must be mounted anew, since its server or program
    /// does not know it any more. All are asked at the same time, each by a thread of its own, so that one whose server is gone
    /// keeps nobody waiting for longer than `patience`. What is only mounted when somebody comes there is left so. Otherwise
    /// no file system is asked anything.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// storage::mounts().some(|it| it.path == "/")
    /// ```
    #[operation(observe, returns = "array")]
    fn mounts(cx: &Ctx, options: MountsOptions) -> Result<Value, OpError> {
        let tiers = cx.port::<dyn Tiers>()?;
        let mounts = tiers.mounted()?;
        // The last one at a path hides the others.
        let last: BTreeMap<&Path, &Mounted> = mounts.iter().map(|it| (&*it.path, it)).collect();
        let is_asked = |it: &Mounted| it.fs_type != AUTOMOUNT && std::ptr::eq(last[&*it.path], it);
        let is_wanted = |it: &&Mounted| options.r#type.as_ref().is_none_or(|wanted| *wanted == it.fs_type);
        let wanted: Vec<&Mounted> = mounts.iter().filter(is_wanted).collect();
        let mut answers = Vec::new();
        if options.ask {
            for some in wanted.chunks(ASKED_MAX) {
                answers.extend(ask(&tiers, some, is_asked, options.patience));
            }
        }
        let mut answers = answers.into_iter();
        let described = wanted.iter().map(|it| {
            let mut map = BTreeMap::from([("path", Value::from(it.path.to_string_lossy().into_owned()))]);
            map.extend(mount(it, tiers.uuid(&it.device)).into_iter().skip(1));
            if let Some(answer) = answers.next() {
                map.insert("answers", Value::Bool(answer == Answer::Well));
                map.insert("stale", Value::Bool(matches!(answer, Answer::Stale(_))));
            }
            Value::map(map)
        });
        Ok(Value::Array(described.collect()))
    }

    /// How each of these answers. One that may not be looked at, or that is not to be asked, answers as well.
    fn ask(
        tiers: &Arc<dyn Tiers>,
        mounts: &[&Mounted],
        is_asked: impl Fn(&Mounted) -> bool,
        patience: Duration,
    ) -> Vec<Answer> {
        std::thread::scope(|scope| {
            let asked = mounts.iter().map(|it| {
                let asks = |path| scope.spawn(move || tiers.answer(path, patience));
                is_asked(it).then(|| asks(&*it.path))
            });
            let asked: Vec<_> = asked.collect();
            let answer = |asked: Option<std::thread::ScopedJoinHandle<'_, Answer>>| {
                asked.and_then(|asked| asked.join().ok()).unwrap_or(Answer::Well)
            };
            asked.into_iter().map(answer).collect()
        })
    }

    /// Tells from earlier looks when a file system will be full: `per_day` in bytes, `days` and `full_at`.
    ///
    /// `history` holds maps with `at` (RFC 3339), `used` and `free`, as `storage::usage` gives them, in any order; the last
    /// one says what is free. The slope is the median of all slopes between two looks (Theil and Sen), so that one large
    /// deletion or download turns nothing around. Where it does not grow, `days` and `full_at` are `()`.
    ///
    /// Class `pure`.
    ///
    /// Fails with `invalid` when there are less than two looks, or all at one time.
    ///
    /// ```rhai
    /// let looks = [
    ///     #{ at: "2026-01-01T00:00:00Z", used: 100, free: 900 },
    ///     #{ at: "2026-01-03T00:00:00Z", used: 300, free: 700 },
    /// ];
    /// let full = storage::forecast(looks);
    /// full.per_day == 100.0 && full.days == 7.0 && full.full_at == "2026-01-10T00:00:00Z"
    /// ```
    #[operation(pure, returns = "map")]
    fn forecast(history: Vec<BTreeMap<String, Value>>) -> Result<Value, OpError> {
        if history.len() > SAMPLES_MAX {
            return Err(OpError::invalid(format!("more than {SAMPLES_MAX} looks")));
        }
        let mut samples = history.iter().map(sample).collect::<Result<Vec<_>, _>>()?;
        samples.sort_by_key(|sample| sample.at);
        let (Some(per_second), Some(last)) = (slope(&samples), samples.last()) else {
            return Err(OpError::invalid("a forecast needs two looks at different times"));
        };
        #[allow(clippy::cast_precision_loss)] // nobody needs a forecast to the byte
        let left = (per_second > 0.0).then(|| last.free as f64 / per_second);
        // What lies past the calendar is as good as never.
        let full_at = left
            .and_then(|left| Duration::try_from_secs_f64(left).ok())
            .and_then(|left| last.at.checked_add(left).ok());
        let left = left.filter(|_| full_at.is_some());
        Ok(Value::map([
            ("per_day", Value::Float(per_second * DAY_SECONDS)),
            ("days", left.map_or(Value::Unit, |left| Value::Float(left / DAY_SECONDS))),
            ("full_at", Value::from(full_at.map(|at| at.to_string()))),
        ]))
    }

    fn sample(map: &BTreeMap<String, Value>) -> Result<Sample, OpError> {
        let wrong = |what: &str| OpError::invalid(format!("a look needs {what}"));
        let at = map.get("at").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
        let bytes = |key: &str| {
            let bytes = map.get(key).and_then(Value::as_int).and_then(|it| u64::try_from(it).ok());
            bytes.ok_or_else(|| wrong(&format!("`{key}` in bytes")))
        };
        Ok(Sample {
            at: at.ok_or_else(|| wrong("`at`, a time such as \"2026-01-01T00:00:00Z\""))?,
            used: bytes("used")?,
            free: bytes("free")?,
        })
    }
}
