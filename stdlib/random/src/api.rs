//! The operations of `random`.

use hob_primitive::primitive;

/// The most bytes that one call gives.
pub const BYTES_MAX: usize = 64 << 10;

/// The longest text that one call gives.
pub const CHARACTERS_MAX: usize = 4096;

pub use operations::primitive;

/// Chance.
///
/// What is drawn is journaled, in clear: a run that is resumed has the same number. Passwords and keys belong into
/// `secrets`, which makes them without writing them down.
#[primitive(name = "random")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Ctx, Options};

    use super::{BYTES_MAX, CHARACTERS_MAX};
    use crate::Entropy;

    /// Letters and digits that nobody confuses with each other are left for the caller to choose.
    const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// The kinds of UUID.
    #[derive(Clone, Copy, PartialEq, Eq, Choice)]
    pub(crate) enum UuidKind {
        /// Random.
        V4,
        /// The time, then random: later ones sort after earlier ones.
        V7,
    }

    /// Which UUID.
    #[derive(Options)]
    pub(crate) struct UuidOptions {
        /// `"v4"` is random; `"v7"` starts with the time, so that later ones sort after earlier ones.
        #[option(default = "UuidKind::V4")]
        kind: UuidKind,
    }

    /// Which characters.
    #[derive(Options)]
    pub(crate) struct TextOptions {
        /// The characters to draw from; letters and digits when left out.
        #[option(default = "ALPHANUMERIC.to_owned()")]
        alphabet: String,
    }

    /// Draws a UUID (RFC 9562).
    ///
    /// Class `observe`: nothing changes outside; the journaled one is given again on replay.
    ///
    /// ```rhai
    /// let id = random::uuid();
    /// id.len() == 36 && id != random::uuid()
    /// ```
    #[operation(observe, returns = "string")]
    fn uuid(cx: &Ctx, options: UuidOptions) -> Result<String, OpError> {
        let mut bytes = [0; 16];
        fill(cx, &mut bytes)?;
        let uuid = match options.kind {
            UuidKind::V4 => uuid::Builder::from_random_bytes(bytes),
            UuidKind::V7 => {
                let millis = u64::try_from(cx.now().as_millisecond()).unwrap_or(0);
                let random = *bytes.first_chunk().expect("16 bytes hold 10");
                uuid::Builder::from_unix_timestamp_millis(millis, &random)
            }
        };
        Ok(uuid.into_uuid().to_string())
    }

    /// Draws a whole number from `min` to `max`, both included, each equally likely.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// Fails with `invalid` when `min` is greater than `max`.
    ///
    /// ```rhai
    /// let n = random::int(1, 6);
    /// n >= 1 && n <= 6 && random::int(5, 5) == 5
    /// ```
    #[operation(observe, returns = "int")]
    fn int(cx: &Ctx, min: i64, max: i64) -> Result<i64, OpError> {
        if min > max {
            return Err(OpError::invalid(format!("there is no number from {min} to {max}"))
                .hint("the smaller one comes first"));
        }
        let drawn = below(cx, max.abs_diff(min).wrapping_add(1))?;
        Ok(min.wrapping_add_unsigned(drawn))
    }

    /// Draws a float from 0 (included) to 1 (excluded).
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// ```rhai
    /// let x = random::float();
    /// x >= 0.0 && x < 1.0
    /// ```
    #[operation(observe, returns = "float")]
    fn float(cx: &Ctx) -> Result<f64, OpError> {
        // 53 bits are what a float holds.
        #[allow(clippy::cast_precision_loss)]
        Ok((word(cx)? >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// Draws bytes and gives them as lower-case hexadecimal digits, two for each.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// Fails with `invalid` above 64 KiB.
    ///
    /// ```rhai
    /// random::hex(16).len() == 32
    /// ```
    #[operation(observe, returns = "string")]
    fn hex(cx: &Ctx, bytes: usize) -> Result<String, OpError> {
        Ok(drawn_bytes(cx, bytes)?.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Draws bytes and gives them as a blob.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// Fails with `invalid` above 64 KiB.
    ///
    /// ```rhai
    /// random::bytes(32).len() == 32
    /// ```
    #[operation(observe, returns = "blob")]
    fn bytes(cx: &Ctx, count: usize) -> Result<Vec<u8>, OpError> {
        drawn_bytes(cx, count)
    }

    /// Draws a text of so many characters.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// Fails with `invalid` above 4096 characters or with an empty alphabet.
    ///
    /// ```rhai
    /// random::text(8).len() == 8 && random::text(3, #{ alphabet: "a" }) == "aaa"
    /// ```
    #[operation(observe, returns = "string")]
    fn text(cx: &Ctx, length: usize, options: TextOptions) -> Result<String, OpError> {
        if length > CHARACTERS_MAX {
            return Err(OpError::invalid(format!("{length} characters are more than {CHARACTERS_MAX}")));
        }
        let alphabet: Vec<char> = options.alphabet.chars().collect();
        (0..length).map(|_| Ok(alphabet[draw_index(cx, alphabet.len(), "the alphabet")?])).collect()
    }

    /// Draws an item of an array.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// Fails with `invalid` when the array is empty.
    ///
    /// ```rhai
    /// random::choice(["a", "b"]) in ["a", "b"]
    /// ```
    #[operation(observe)]
    fn choice(cx: &Ctx, items: Vec<Value>) -> Result<Value, OpError> {
        let mut items = items;
        let at = draw_index(cx, items.len(), "the array")?;
        Ok(items.swap_remove(at))
    }

    /// Gives an array in random order.
    ///
    /// Class `observe`: nothing changes outside.
    ///
    /// ```rhai
    /// let cards = random::shuffle([1, 2, 3]);
    /// cards.len() == 3 && 1 in cards && 2 in cards && 3 in cards
    /// ```
    #[operation(observe, returns = "array")]
    fn shuffle(cx: &Ctx, items: Vec<Value>) -> Result<Vec<Value>, OpError> {
        // Fisher and Yates's shuffle.
        let mut items = items;
        for last in (1..items.len()).rev() {
            items.swap(last, draw_index(cx, last + 1, "the array")?);
        }
        Ok(items)
    }

    fn fill(cx: &Ctx, bytes: &mut [u8]) -> Result<(), OpError> {
        cx.port::<dyn Entropy>()?.fill(bytes)
    }

    fn drawn_bytes(cx: &Ctx, count: usize) -> Result<Vec<u8>, OpError> {
        if count > BYTES_MAX {
            return Err(OpError::invalid(format!("{count} bytes are more than {BYTES_MAX}")));
        }
        let mut bytes = vec![0; count];
        fill(cx, &mut bytes)?;
        Ok(bytes)
    }

    fn word(cx: &Ctx) -> Result<u64, OpError> {
        let mut bytes = [0; 8];
        fill(cx, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A number below `limit`, each equally likely; 0 stands for 2⁶⁴.
    fn below(cx: &Ctx, limit: u64) -> Result<u64, OpError> {
        if limit == 0 {
            return word(cx);
        }
        // The words of an incomplete last round would favour small numbers: draw again (at most half the time).
        let incomplete = (u64::MAX % limit + 1) % limit;
        loop {
            let drawn = word(cx)?;
            if drawn <= u64::MAX - incomplete {
                return Ok(drawn % limit);
            }
        }
    }

    fn draw_index(cx: &Ctx, count: usize, of: &str) -> Result<usize, OpError> {
        if count == 0 {
            return Err(OpError::invalid(format!("{of} is empty: there is nothing to draw from")));
        }
        let at = below(cx, count as u64)?;
        Ok(usize::try_from(at).expect("it is below a usize"))
    }
}
