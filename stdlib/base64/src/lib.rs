//! The primitive `base64`: bytes as text (RFC 4648) and back.

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// Bytes as text in base64 (RFC 4648).
#[primitive(name = "base64")]
mod api {
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
    use hob_model::{OpError, Value};
    use hob_primitive::{Content, Options, Place, TEXT_BYTES_MAX, Text};

    /// How to write.
    #[derive(Options)]
    pub(crate) struct EncodeOptions {
        /// Whether to use `-` and `_` instead of `+` and `/`, and no padding: safe in addresses and file names.
        #[option(default = "false")]
        url: bool,
        /// Whether to fill up with `=`; left out: unless `url` is set.
        padding: Option<bool>,
    }

    /// How to read.
    #[derive(Options)]
    pub(crate) struct DecodeOptions {
        /// Whether the text uses `-` and `_` instead of `+` and `/`.
        #[option(default = "false")]
        url: bool,
        /// Whether to give a text, which the bytes must be, instead of a blob.
        #[option(default = "false")]
        text: bool,
    }

    fn engine(url: bool, padding: bool) -> GeneralPurpose {
        let alphabet = if url { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
        let config = GeneralPurposeConfig::new()
            .with_encode_padding(padding)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, config)
    }

    /// Writes a text or a blob as base64.
    ///
    /// Class `pure`.
    ///
    /// ```rhai
    /// base64::encode("user:password") == "dXNlcjpwYXNzd29yZA=="
    /// ```
    ///
    /// ```rhai
    /// base64::encode("~~?", #{ url: true }) == "fn4_"
    /// ```
    #[operation(pure, returns = "string")]
    fn encode(content: Content, options: EncodeOptions) -> Result<String, OpError> {
        let bytes = content.0;
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(OpError::invalid(format!(
                "there are {} bytes, more than {TEXT_BYTES_MAX}",
                bytes.len()
            )));
        }
        Ok(engine(options.url, options.padding.unwrap_or(!options.url)).encode(bytes))
    }

    /// Reads base64: a blob, or a text with `text: true`.
    ///
    /// Class `pure`. Blanks and line breaks are skipped; padding may be there or not.
    ///
    /// Fails with `invalid` and the place when a character does not belong there.
    ///
    /// ```rhai
    /// base64::decode("aG9i", #{ text: true }) == "hob"
    /// ```
    #[operation(pure, returns = "blob or string")]
    fn decode(text: Text, options: DecodeOptions) -> Result<Value, OpError> {
        let text = text.0;
        let dense: Vec<(usize, u8)> =
            text.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()).collect();
        let bytes: Vec<u8> = dense.iter().map(|(_, byte)| *byte).collect();
        let bytes = engine(options.url, false).decode(bytes).map_err(|error| {
            use base64::DecodeError as E;
            let (at, why) = match error {
                E::InvalidByte(at, b'+' | b'/') => (at, "the other alphabet (leave `url` out)".to_owned()),
                E::InvalidByte(at, b'-' | b'_') => {
                    (at, "the URL-safe alphabet (pass `url: true`)".to_owned())
                }
                E::InvalidByte(at, _) => (at, "a character that does not belong there".to_owned()),
                E::InvalidLastSymbol(at, _) => (at, "a last character with bits left over".to_owned()),
                E::InvalidLength(_) | E::InvalidPadding => (usize::MAX, "the end is missing".to_owned()),
            };
            let offset = dense.get(at).map_or(text.len(), |(offset, _)| *offset);
            Place::of(&text, offset).malformed("base64", why)
        })?;
        if !options.text {
            return Ok(Value::Blob(bytes));
        }
        String::from_utf8(bytes).map(Value::String).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            OpError::invalid(format!("the decoded bytes are no UTF-8 text: byte {at} is wrong"))
                .hint("leave `text` out to get a blob")
        })
    }
}
