//! The primitive `semver`: semantic versions (2.0.0) and requirements on them.

mod version;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// The most versions that `semver::sort` takes.
pub const VERSIONS_MAX: usize = 100_000;

/// The longest version or requirement.
pub const VERSION_BYTES_MAX: usize = 1024;

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// Semantic versions.
///
/// A leading `v` is accepted, as tags have it. `loose: true` also accepts what image tags look like: `16` and `16.2`
/// are read as `16.0.0` and `16.2.0`, and leading zeros are dropped.
#[primitive(name = "semver")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Options};

    use crate::VERSIONS_MAX;
    use crate::version;

    /// How versions are read.
    #[derive(Options)]
    pub(crate) struct ReadOptions {
        /// Whether to accept one or two numbers and leading zeros.
        #[option(default = "false")]
        loose: bool,
    }

    /// How versions are sorted.
    #[derive(Options)]
    pub(crate) struct SortOptions {
        /// Whether to accept one or two numbers and leading zeros.
        #[option(default = "false")]
        loose: bool,
        /// Whether the newest comes first.
        #[option(default = "false")]
        descending: bool,
    }

    /// What is counted up.
    #[derive(Clone, Copy, Choice)]
    pub(crate) enum Part {
        /// The first number.
        Major,
        /// The second number.
        Minor,
        /// The third number.
        Patch,
    }

    /// Reads a version: `#{ major, minor, patch, pre, build }`, the last two as texts that may be empty.
    ///
    /// Class `pure`.
    ///
    /// Fails with `invalid` when the text is no version.
    ///
    /// ```rhai
    /// let v = semver::parse("v1.22.3-rc.1+b7");
    /// v.major == 1 && v.minor == 22 && v.patch == 3 && v.pre == "rc.1" && v.build == "b7"
    /// ```
    #[operation(pure, returns = "map")]
    fn parse(version: String, options: ReadOptions) -> Result<Value, OpError> {
        let version = version::read(&version, options.loose)?;
        Ok(Value::map([
            ("major", Value::from(version.major)),
            ("minor", version.minor.into()),
            ("patch", version.patch.into()),
            ("pre", version.pre.as_str().into()),
            ("build", version.build.as_str().into()),
        ]))
    }

    /// Whether a text is a version.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// semver::valid("1.0.0") && !semver::valid("latest") && semver::valid("16", #{ loose: true })
    /// ```
    #[operation(pure, returns = "bool")]
    fn valid(version: String, options: ReadOptions) -> Result<bool, OpError> {
        Ok(version::read(&version, options.loose).is_ok())
    }

    /// Compares two versions: -1 when the first is older, 0 when they are equal, 1 when it is newer.
    ///
    /// Class `pure`. Build metadata does not count, as the specification has it.
    ///
    /// Fails with `invalid` when a text is no version.
    ///
    /// ```rhai
    /// semver::compare("1.9.0", "1.10.0") == -1 && semver::compare("2.0.0", "2.0.0-rc.1") == 1
    /// ```
    #[operation(pure, returns = "int")]
    fn compare(first: String, second: String, options: ReadOptions) -> Result<i64, OpError> {
        let (first, second) = (version::read(&first, options.loose)?, version::read(&second, options.loose)?);
        Ok(first.cmp_precedence(&second) as i64)
    }

    /// Whether a version meets a requirement such as `"^1.2"`, `">=16, <17"`, `"~1.4.2"` or `"1.*"`.
    ///
    /// Class `pure`. Requirements are those of Cargo: a plain `"1.2"` means `"^1.2"`; all of a list with commas must
    /// hold. A pre-release only meets a requirement that names one of the same version.
    ///
    /// Fails with `invalid` when the version or the requirement is wrong.
    ///
    /// ```rhai
    /// semver::matches("1.22.3", ">=1.20, <2") && !semver::matches("2.0.0", "^1") && semver::matches("16", ">=15", #{ loose: true })
    /// ```
    #[operation(pure, returns = "bool")]
    fn matches(version: String, requirement: String, options: ReadOptions) -> Result<bool, OpError> {
        let version = version::read(&version, options.loose)?;
        Ok(version::read_requirement(&requirement)?.matches(&version))
    }

    /// Counts up a part of a version: `"major"`, `"minor"` or `"patch"`.
    ///
    /// Class `pure`. Lower parts become 0, pre-release and build go; a pre-release becomes its release when that is
    /// already the next version.
    ///
    /// ```rhai
    /// semver::bump("1.2.3", "minor") == "1.3.0" && semver::bump("2.0.0-rc.1", "major") == "2.0.0"
    /// ```
    #[operation(pure, returns = "string")]
    fn bump(version: String, part: Part, options: ReadOptions) -> Result<String, OpError> {
        let mut next = version::read(&version, options.loose)?;
        let released = next.pre.is_empty();
        let count = |number: u64| {
            number.checked_add(1).ok_or_else(|| OpError::invalid("the version is the last one"))
        };
        match part {
            Part::Major if released || next.minor != 0 || next.patch != 0 => {
                (next.major, next.minor, next.patch) = (count(next.major)?, 0, 0);
            }
            Part::Minor if released || next.patch != 0 => (next.minor, next.patch) = (count(next.minor)?, 0),
            Part::Patch if released => next.patch = count(next.patch)?,
            _ => {}
        }
        next.pre = semver::Prerelease::EMPTY;
        next.build = semver::BuildMetadata::EMPTY;
        Ok(next.to_string())
    }

    /// Sorts versions, the oldest first; the texts stay as they were written.
    ///
    /// Class `pure`. Equal ones keep their order.
    ///
    /// Fails with `invalid` when a text is no version; filter with `semver::valid` first.
    ///
    /// ```rhai
    /// semver::sort(["v1.10.0", "1.9.0", "1.10.0-rc.1"]) == ["1.9.0", "1.10.0-rc.1", "v1.10.0"]
    /// ```
    #[operation(pure, returns = "array")]
    fn sort(versions: Vec<String>, options: SortOptions) -> Result<Vec<String>, OpError> {
        if versions.len() > VERSIONS_MAX {
            return Err(OpError::invalid(format!("more than {VERSIONS_MAX} versions")));
        }
        let read = versions.into_iter().map(|text| Ok((version::read(&text, options.loose)?, text)));
        let mut read = read.collect::<Result<Vec<_>, OpError>>()?;
        read.sort_by(|(a, _), (b, _)| match options.descending {
            true => b.cmp_precedence(a),
            false => a.cmp_precedence(b),
        });
        Ok(read.into_iter().map(|(_, text)| text).collect())
    }
}
