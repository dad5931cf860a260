//! The operation that reads again what was moved.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// What compares; joined with the rest of `storage`.
#[primitive(name = "storage")]
mod operations {
    use std::path::{Path, PathBuf};

    use hob_model::{Digest, OpError, Value};
    use hob_primitive::{Ctx, Options, PathText};

    use crate::mover::manifest::{self, Line};
    use crate::mover::read::{Pool, hash};
    use crate::mover::{Fail, intent};
    use crate::tier::{IoPriority, Tier, Tiers};
    use crate::watch::Watch;
    use crate::{NAMED_MAX, at_priority, roots};

    /// The most parts that a scrub can be cut into.
    const PARTS_MAX: u64 = 10_000;

    const DAY_SECONDS: i64 = 24 * 60 * 60;

    /// Options of `storage::scrub`.
    #[derive(Debug, Options)]
    struct ScrubOptions {
        /// Reads one of so many parts, another one each day: 30 reads everything once in a month of daily calls.
        #[option(default = "1")]
        parts: u64,
        /// How eagerly disks serve it.
        #[option(default = "IoPriority::Idle")]
        io_priority: IoPriority,
    }

    /// What became of a file.
    enum State {
        Sound,
        Changed,
        Missing,
        Damaged,
    }

    /// Reads files again that `storage::migrate` moved to a directory, and compares them with their hashes.
    ///
    /// It gives `files` and `bytes` that were read, and lists of paths: `damaged`, whose content differs though size and
    /// time are the same or which the disk does not give back; `changed`, which somebody wrote to since; and `missing`.
    /// A script tells of `damaged` ones and restores them.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails with `not_found` when nothing was moved there.
    ///
    /// ```rhai
    /// files::mkdir("cold");
    /// files::write("hot/a", "1", #{ mkdir: true });
    /// storage::migrate("hot", "cold", #{ settle: "0s", reserve: "1M" });
    /// let seen = storage::scrub("cold");
    /// seen.files == 1 && seen.damaged == []
    /// ```
    #[operation(observe, permission = "files.read:{path}", returns = "map")]
    fn scrub(cx: &Ctx, path: PathText, options: ScrubOptions) -> Result<Value, OpError> {
        if !(1..=PARTS_MAX).contains(&options.parts) {
            return Err(OpError::invalid(format!("`parts` is a number from 1 to {PARTS_MAX}")));
        }
        let tiers = cx.port::<dyn Tiers>()?;
        let tier = roots::open(&*tiers, &cx.resolve(&path.0))?;
        let mut watch = Watch::new(cx, &tiers, format!("reading {}", tier.path().display()), 0);
        let today = u64::try_from(cx.now().as_second() / DAY_SECONDS).unwrap_or_default() % options.parts;
        let all = manifest::read_all(&*tier)?;
        let due = all.iter().filter(|(_, line)| part(line, options.parts) == today);
        at_priority(&*tiers, options.io_priority, || compare(&*tier, due, &mut watch))
    }

    /// Which part a file belongs to, for ever.
    fn part(line: &Line, parts: u64) -> u64 {
        let digest = Digest::of(line.path.as_bytes()).to_string();
        u64::from_str_radix(&digest[..12], 16).unwrap_or_default() % parts
    }

    fn compare<'l>(
        tier: &dyn Tier,
        due: impl Iterator<Item = (&'l PathBuf, &'l Line)>,
        watch: &mut Watch,
    ) -> Result<Value, OpError> {
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let (mut damaged, mut changed, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (path, line) in due {
            let list = match look(tier, path, line, watch)? {
                State::Sound => None,
                State::Damaged => Some(&mut damaged),
                State::Changed => Some(&mut changed),
                State::Missing => Some(&mut missing),
            };
            files += 1;
            bytes += line.size;
            if let Some(list) = list.filter(|list| list.len() < NAMED_MAX) {
                list.push(path.to_string_lossy().into_owned());
            }
        }
        Ok(Value::map([
            ("files", Value::from(files)),
            ("bytes", Value::from(bytes)),
            ("damaged", Value::from(damaged)),
            ("changed", Value::from(changed)),
            ("missing", Value::from(missing)),
        ]))
    }

    fn look(tier: &dyn Tier, path: &Path, line: &Line, watch: &mut Watch) -> Result<State, OpError> {
        debug_assert_eq!(intent::path(&line.path), path);
        let source = match tier.open(path) {
            Ok(source) => source,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::Missing),
            Err(_) => return Ok(State::Damaged),
        };
        let Ok(meta) = source.meta() else { return Ok(State::Damaged) };
        if (meta.size, meta.modified) != (line.size, line.modified) {
            return Ok(State::Changed);
        }
        source.evict();
        match hash(&*source, line.size, watch, &mut Pool::default()) {
            Ok(found) if found.to_hex().as_str() == line.hash => Ok(State::Sound),
            Ok(_) | Err(Fail::Skip(..)) => Ok(State::Damaged),
            Err(Fail::Stop(error)) => Err(error),
        }
    }
}
