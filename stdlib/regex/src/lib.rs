//! The primitive `regex`: searching and replacing in texts by pattern.

mod pattern;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// The longest pattern, 64 KiB.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;

/// The most memory that one compiled pattern may take, 10 MiB; `(a{1000}){1000}` needs more.
pub const COMPILED_BYTES_MAX: usize = 10 << 20;

/// How deep groups may nest in a pattern.
pub const NEST_MAX: u32 = 128;

/// How many matches one call gives at most.
pub const MATCHES_MAX: usize = 100_000;

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// Regular expressions.
///
/// Patterns have the syntax of Rust's `regex` crate (<https://docs.rs/regex/#syntax>): like Perl's, without look-around
/// and backreferences, and searching takes time linear in the text, whatever the pattern. Flags stand in the pattern:
/// `(?i)` ignores case, `(?m)` lets `^` and `$` match at line ends, `(?s)` lets `.` match line breaks, `(?x)` allows
/// blanks and comments. Write patterns in backquotes, where `\` stands for itself.
#[primitive(name = "regex")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Options, TEXT_BYTES_MAX};
    use regex::{Captures, Match, Regex};

    use crate::{MATCHES_MAX, pattern};

    /// How often.
    #[derive(Options)]
    pub(crate) struct LimitOptions {
        /// The most replacements or pieces; left out: as many as there are.
        limit: Option<usize>,
    }

    /// Whether a pattern matches somewhere in a text.
    ///
    /// Class `pure`. `^…$` around the pattern asks for the whole text.
    ///
    /// Fails with `invalid` when the pattern is wrong, with the place in it.
    ///
    /// ```rhai
    /// regex::is_match(`^v?\d+\.\d+$`, "v1.22") && !regex::is_match(`(?i)error`, "all is well")
    /// ```
    #[operation(pure, returns = "bool")]
    fn is_match(pattern: String, text: String) -> Result<bool, OpError> {
        Ok(pattern::compiled(&pattern)?.is_match(&text))
    }

    /// Gives the first match: `#{ text, start, end }`, or `()`.
    ///
    /// Class `pure`. `start` and `end` count characters from 0, as `sub_string` does.
    ///
    /// ```rhai
    /// let found = regex::find(`\d+`, "über 80 %");
    /// found.text == "80" && found.start == 5 && found.end == 7 && regex::find("x", "abc") == ()
    /// ```
    #[operation(pure, returns = "map or ()")]
    fn find(pattern: String, text: String) -> Result<Value, OpError> {
        let found =
            pattern::compiled(&pattern)?.find(&text).map(|found| found_value(found, &mut Cursor::new(&text)));
        Ok(found.into())
    }

    /// Gives all matches that do not overlap, as `regex::find` gives one.
    ///
    /// Class `pure`. Fails when there are more than 100 000.
    ///
    /// ```rhai
    /// regex::find_all(`sd[a-z]`, "sda ok, sdb failed").map(|found| found.text) == ["sda", "sdb"]
    /// ```
    #[operation(pure, returns = "array")]
    fn find_all(pattern: String, text: String) -> Result<Vec<Value>, OpError> {
        let mut cursor = Cursor::new(&text);
        limited(pattern::compiled(&pattern)?.find_iter(&text).map(|found| found_value(found, &mut cursor)))
    }

    /// Gives the groups of the first match as a map, or `()`.
    ///
    /// Class `pure`. A named group is under its name, each group also under its number, the whole match under `"0"`;
    /// a group that took no part is `()`.
    ///
    /// ```rhai
    /// let image = regex::captures(`^(?<name>[^:]+)(:(?<tag>.+))?$`, "postgres:16");
    /// image.name == "postgres" && image.tag == "16" && image["0"] == "postgres:16"
    /// ```
    #[operation(pure, returns = "map or ()")]
    fn captures(pattern: String, text: String) -> Result<Value, OpError> {
        let regex = pattern::compiled(&pattern)?;
        Ok(regex.captures(&text).map(|groups| groups_value(&regex, &groups)).into())
    }

    /// Gives the groups of all matches, each as `regex::captures` gives them.
    ///
    /// Class `pure`. Fails when there are more than 100 000.
    ///
    /// ```rhai
    /// let pairs = regex::captures_all(`(?<key>\w+)=(?<value>\w+)`, "TZ=UTC UID=1000");
    /// pairs.len() == 2 && pairs[1].key == "UID" && pairs[1].value == "1000"
    /// ```
    #[operation(pure, returns = "array")]
    fn captures_all(pattern: String, text: String) -> Result<Vec<Value>, OpError> {
        let regex = pattern::compiled(&pattern)?;
        limited(regex.captures_iter(&text).map(|groups| groups_value(&regex, &groups)))
    }

    /// Replaces matches; all of them unless `limit` says how many.
    ///
    /// Class `pure`. In the replacement `$1` or `${1}` and `$name` or `${name}` stand for groups, `$$` for a dollar.
    ///
    /// Fails when the result would be longer than 64 MiB.
    ///
    /// ```rhai
    /// regex::replace(`(\w+)@(\w+)`, "ada@nas", "$2: $1") == "nas: ada"
    /// ```
    ///
    /// ```rhai
    /// regex::replace("a", "banana", "o", #{ limit: 2 }) == "bonona"
    /// ```
    #[operation(pure, returns = "string")]
    fn replace(
        pattern: String,
        text: String,
        with: String,
        options: LimitOptions,
    ) -> Result<String, OpError> {
        let (regex, text) = (pattern::compiled(&pattern)?, text);
        let (mut out, mut done) = (String::new(), 0);
        for groups in regex.captures_iter(&text).take(options.limit.unwrap_or(usize::MAX)) {
            let whole = groups.get_match();
            out.push_str(&text[done..whole.start()]);
            groups.expand(&with, &mut out);
            done = whole.end();
            if out.len() > TEXT_BYTES_MAX {
                return Err(OpError::invalid(format!(
                    "the result would be longer than {TEXT_BYTES_MAX} bytes"
                )));
            }
        }
        out.push_str(&text[done..]);
        Ok(out)
    }

    /// Cuts a text at each match, into at most `limit` pieces.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// regex::split(`\s*[,;]\s*`, "a, b;c") == ["a", "b", "c"]
    /// ```
    #[operation(pure, returns = "array")]
    fn split(pattern: String, text: String, options: LimitOptions) -> Result<Vec<Value>, OpError> {
        let regex = pattern::compiled(&pattern)?;
        match options.limit {
            Some(limit) => limited(regex.splitn(&text, limit).map(Value::from)),
            None => limited(regex.split(&text).map(Value::from)),
        }
    }

    /// Gives a pattern that matches exactly this text.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// regex::escape("a.b*") == `a\.b\*`
    /// ```
    #[operation(pure, returns = "string")]
    fn escape(text: String) -> Result<String, OpError> {
        Ok(regex::escape(&text))
    }

    /// Turns byte offsets that only grow into character offsets.
    struct Cursor<'t> {
        text: &'t str,
        byte: usize,
        char: usize,
    }

    impl<'t> Cursor<'t> {
        fn new(text: &'t str) -> Self {
            Self { text, byte: 0, char: 0 }
        }

        fn chars_before(&mut self, byte: usize) -> usize {
            self.char += self.text[self.byte..byte].chars().count();
            self.byte = byte;
            self.char
        }
    }

    fn found_value(found: Match<'_>, cursor: &mut Cursor<'_>) -> Value {
        let start = cursor.chars_before(found.start());
        let end = cursor.chars_before(found.end());
        Value::map([("text", Value::from(found.as_str())), ("start", start.into()), ("end", end.into())])
    }

    fn groups_value(regex: &Regex, groups: &Captures<'_>) -> Value {
        let text = |at: usize| Value::from(groups.get(at).map(|group| group.as_str()));
        let numbered = (0..groups.len()).map(|at| (at.to_string(), text(at)));
        let named =
            regex.capture_names().enumerate().filter_map(|(at, name)| Some((name?.to_owned(), text(at))));
        Value::map(numbered.chain(named))
    }

    fn limited(found: impl Iterator<Item = Value>) -> Result<Vec<Value>, OpError> {
        let found: Vec<Value> = found.take(MATCHES_MAX + 1).collect();
        if found.len() > MATCHES_MAX {
            return Err(OpError::invalid(format!("more than {MATCHES_MAX} matches")));
        }
        Ok(found)
    }
}
