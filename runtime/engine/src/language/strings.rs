//! Texts are values: what Rhai does to them in place gives the new text here.
//!
//! `s.append(x)`, `s.clear()`, `s.set(i, c)` and `s.pop()` are as in Rhai: their names say that they change `s`.

use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult, ImmutableString, NativeCallContext};

type ExclusiveRange = std::ops::Range<i64>;
type InclusiveRange = std::ops::RangeInclusive<i64>;

/// `text` followed by as much of `padding`, again and again, as makes it `len` characters.
fn padded(
    context: &NativeCallContext<'_>,
    text: &str,
    len: i64,
    padding: &str,
) -> Result<ImmutableString, Box<EvalAltResult>> {
    let missing = usize::try_from(len).unwrap_or(0).saturating_sub(text.chars().count());
    let widest = padding.chars().map(char::len_utf8).max().unwrap_or(0);
    let bytes_max = context.engine().max_string_size();
    if bytes_max > 0 && missing.saturating_mul(widest) > bytes_max.saturating_sub(text.len()) {
        let what = "Length of string".to_owned();
        return Err(EvalAltResult::ErrorDataTooLarge(what, context.call_position()).into());
    }
    let mut result = text.to_owned();
    result.extend(padding.chars().cycle().take(missing));
    Ok(result.into())
}

#[export_module]
#[allow(clippy::unwrap_used)] // in what the attribute generates, where the types are known
pub(super) mod functions {
    /// The text without white space at both ends.
    ///
    /// ```rhai
    /// "  plex ".trim() == "plex"
    /// ```
    pub(crate) fn trim(text: &str) -> ImmutableString {
        text.trim().into()
    }

    /// The text in upper case; `to_upper` is the same.
    pub(crate) fn make_upper(text: &str) -> ImmutableString {
        text.to_uppercase().into()
    }

    /// The text in lower case; `to_lower` is the same.
    pub(crate) fn make_lower(text: &str) -> ImmutableString {
        text.to_lowercase().into()
    }

    /// The character in upper case, if that is one character.
    #[rhai_fn(name = "make_upper")]
    pub(crate) fn make_upper_char(character: char) -> char {
        let mut upper = character.to_uppercase();
        upper.next().filter(|_| upper.next().is_none()).unwrap_or(character)
    }

    /// The character in lower case, if that is one character.
    #[rhai_fn(name = "make_lower")]
    pub(crate) fn make_lower_char(character: char) -> char {
        let mut lower = character.to_lowercase();
        lower.next().filter(|_| lower.next().is_none()).unwrap_or(character)
    }

    /// The text with each `find` replaced.
    ///
    /// ```rhai
    /// "a-b-c".replace("-", "+") == "a+b+c"
    /// ```
    pub(crate) fn replace(text: &str, find: &str, substitute: &str) -> ImmutableString {
        text.replace(find, substitute).into()
    }

    /// The text with each `find` replaced by a character.
    #[rhai_fn(name = "replace")]
    pub(crate) fn replace_with_char(text: &str, find: &str, substitute: char) -> ImmutableString {
        text.replace(find, substitute.encode_utf8(&mut [0; 4])).into()
    }

    /// The text with each character `find` replaced by a text.
    #[rhai_fn(name = "replace")]
    pub(crate) fn replace_char_with(text: &str, find: char, substitute: &str) -> ImmutableString {
        text.replace(find, substitute).into()
    }

    /// The text with each character `find` replaced by another.
    #[rhai_fn(name = "replace")]
    pub(crate) fn replace_char(text: &str, find: char, substitute: char) -> ImmutableString {
        text.replace(find, substitute.encode_utf8(&mut [0; 4])).into()
    }

    /// The text without each `part` in it.
    pub(crate) fn remove(text: &str, part: &str) -> ImmutableString {
        text.replace(part, "").into()
    }

    /// The text without each `character` in it.
    #[rhai_fn(name = "remove")]
    pub(crate) fn remove_char(text: &str, character: char) -> ImmutableString {
        text.replace(character, "").into()
    }

    /// The first `len` characters of the text.
    pub(crate) fn truncate(text: &str, len: i64) -> ImmutableString {
        text.chars().take(usize::try_from(len).unwrap_or(0)).collect()
    }

    /// The text with as many of `character` after it as make it `len` characters.
    #[rhai_fn(name = "pad", return_raw)]
    pub(crate) fn pad(
        context: NativeCallContext<'_>,
        text: &str,
        len: i64,
        character: char,
    ) -> Result<ImmutableString, Box<EvalAltResult>> {
        padded(&context, text, len, character.encode_utf8(&mut [0; 4]))
    }

    /// The text with as much of `padding` after it as makes it `len` characters.
    #[rhai_fn(name = "pad", return_raw)]
    pub(crate) fn pad_with(
        context: NativeCallContext<'_>,
        text: &str,
        len: i64,
        padding: &str,
    ) -> Result<ImmutableString, Box<EvalAltResult>> {
        padded(&context, text, len, padding)
    }

    /// The characters of the text in a range; `sub_string` is the same.
    #[rhai_fn(name = "crop", return_raw)]
    pub(crate) fn crop_range(
        context: NativeCallContext<'_>,
        text: ImmutableString,
        range: ExclusiveRange,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        context.call_native_fn("sub_string", (text, range))
    }

    /// The characters of the text in a range; `sub_string` is the same.
    #[rhai_fn(name = "crop", return_raw)]
    pub(crate) fn crop_inclusive_range(
        context: NativeCallContext<'_>,
        text: ImmutableString,
        range: InclusiveRange,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        context.call_native_fn("sub_string", (text, range))
    }

    /// `len` characters of the text from `start`, counted from the end when negative; `sub_string` is the same.
    #[rhai_fn(name = "crop", return_raw)]
    pub(crate) fn crop(
        context: NativeCallContext<'_>,
        text: ImmutableString,
        start: i64,
        len: i64,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        context.call_native_fn("sub_string", (text, start, len))
    }

    /// The text from `start`, counted from the end when negative; `sub_string` is the same.
    #[rhai_fn(name = "crop", return_raw)]
    pub(crate) fn crop_from(
        context: NativeCallContext<'_>,
        text: ImmutableString,
        start: i64,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        context.call_native_fn("sub_string", (text, start))
    }
}
