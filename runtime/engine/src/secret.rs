//! Secrets in scripts: handles over expressions, and the marks that stand for them in texts.
//!
//! Rhai writes each part of an interpolated text into a string, whatever its type. So the text of a secret is a mark:
//! between two noncharacters of Unicode (U+FDD0 and U+FDD1, kept for use inside of programs) its reference and a checksum
//! in hexadecimal digits. A mark holds no value; what passes from a script to anything else has its marks read back
//! into an expression ([`read`]), or shown by name ([`shown`]). Texts from outside have these characters escaped
//! ([`escaped`]), so that none of them can be taken for a mark.

use std::borrow::Cow;
use std::fmt::Write as _;

use hob_model::secret::is_name;
use hob_model::{Digest, OpError, Secret, SecretPart, SecretRef, Value};
use rhai::{Dynamic, EvalAltResult, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::convert::{RhaiResult, to_rhai_error};

const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';
/// What stands for the two characters themselves.
const ESCAPED_BEGIN: &str = "\u{FDD0}b\u{FDD1}";
const ESCAPED_END: &str = "\u{FDD0}e\u{FDD1}";
/// The bytes of a mark's checksum.
const CHECKSUM_BYTES: usize = 4;

/// A secret in a script.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Secret);

/// Whether a text may hold marks.
pub(crate) fn is_marked(text: &str) -> bool {
    text.contains([BEGIN, END])
}

/// A text from outside: none of it is a mark.
pub(crate) fn escaped(text: String) -> String {
    if !is_marked(&text) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            BEGIN => out.push_str(ESCAPED_BEGIN),
            END => out.push_str(ESCAPED_END),
            other => out.push(other),
        }
    }
    out
}

/// The expression as a text of a script: its references are marks.
pub(crate) fn marked(secret: &Secret) -> String {
    let mut out = String::new();
    for part in secret.parts() {
        match part {
            SecretPart::Text(text) => out.push_str(&escaped(text.clone())),
            // Bytes that are no text cannot stand in one: as everywhere in Rhai they are made readable.
            SecretPart::Bytes(bytes) => out.push_str(&escaped(String::from_utf8_lossy(bytes).into_owned())),
            SecretPart::Reference(reference) => out.push_str(&mark(reference)),
        }
    }
    out
}

fn mark(reference: &SecretRef) -> String {
    let bytes = Value::Secret(Secret::reference(reference.clone())).encode();
    let sum = Digest::of(&bytes);
    let mut out = String::from(BEGIN);
    for byte in bytes.iter().chain(&sum.0[..CHECKSUM_BYTES]) {
        let _ = write!(out, "{byte:02x}");
    }
    out.push(END);
    out
}

/// What stands between the characters of a mark.
fn unmarked(digits: &str) -> Option<SecretPart> {
    match digits {
        "b" => return Some(SecretPart::Text(BEGIN.into())),
        "e" => return Some(SecretPart::Text(END.into())),
        _ => {}
    }
    // Digits in upper case come of a text that was changed as a whole.
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Vec<u8> =
        pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect::<Option<_>>()?;
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if Digest::of(body).0[..CHECKSUM_BYTES] != *sum {
        return None;
    }
    match Value::decode(body).ok()? {
        Value::Secret(secret) => secret.single().cloned().map(SecretPart::Reference),
        _ => None,
    }
}

/// The parts of a text; `None` where a mark is not whole.
fn parts(text: &str) -> Option<Secret> {
    let mut secret = Secret::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once([BEGIN, END]) {
        secret.push(SecretPart::Text(before.to_owned()));
        let (digits, left) = after.split_once(END).filter(|_| rest[before.len()..].starts_with(BEGIN))?;
        secret.push(unmarked(digits)?);
        rest = left;
    }
    secret.push(SecretPart::Text(rest.to_owned()));
    Some(secret)
}

/// The value that a text of a script stands for: a text, or an expression where it holds marks.
pub(crate) fn read(text: &str) -> Result<Value, OpError> {
    if !is_marked(text) {
        return Ok(Value::String(text.to_owned()));
    }
    let secret = parts(text).ok_or_else(|| {
        OpError::invalid("a text with a secret in it was cut or changed")
            .hint("put texts with secrets together with `+` and `${…}` alone; their value is known only where it is used")
    })?;
    let is_plain = secret.references().next().is_none();
    Ok(if is_plain { Value::String(secret.to_string()) } else { Value::Secret(secret) })
}

/// A text of a script as people see it: secrets by name.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !is_marked(text) {
        return Cow::Borrowed(text);
    }
    match parts(text) {
        Some(secret) => Cow::Owned(secret.to_string()),
        None => Cow::Owned(text.replace([BEGIN, END], "\u{FFFD}")),
    }
}

/// Refuses a secret where a plain text belongs: a name, a key.
///
/// # Errors
/// When there is one.
pub(crate) fn refuse_in(value: &Value, what: &str) -> Result<(), OpError> {
    let marked = match value {
        Value::String(text) => is_marked(text),
        _ => false,
    };
    if marked { Err(OpError::invalid(format!("a secret cannot be {what}"))) } else { Ok(()) }
}

/// What is put together with a secret, as an expression itself.
fn expression(value: &Dynamic) -> Result<Secret, OpError> {
    Ok(match crate::convert::to_value(value)? {
        Value::Secret(secret) => secret,
        Value::String(text) => SecretPart::Text(text).into(),
        Value::Blob(bytes) => SecretPart::Bytes(bytes).into(),
        other => SecretPart::Text(plain_text(&other)?).into(),
    })
}

fn plain_text(value: &Value) -> Result<String, OpError> {
    match value {
        Value::Bool(v) => Ok(v.to_string()),
        Value::Int(v) => Ok(v.to_string()),
        Value::Float(v) => Ok(v.to_string()),
        Value::Char(v) => Ok(v.to_string()),
        Value::Unit => Ok(String::new()),
        other => Err(OpError::invalid(format!("a secret and {} do not make a secret", other.type_name()))
            .hint("add texts, numbers and other secrets")),
    }
}

/// What a script cannot do with a secret, and what to call instead.
const REFUSED: [(&str, &str); 14] = [
    ("==", "secrets::equal(a, b)"),
    ("!=", "secrets::equal(a, b)"),
    ("<", "secrets::equal(a, b)"),
    ("<=", "secrets::equal(a, b)"),
    (">", "secrets::equal(a, b)"),
    (">=", "secrets::equal(a, b)"),
    ("contains", "secrets::parse(secret, format)"),
    ("starts_with", "secrets::parse(secret, format)"),
    ("ends_with", "secrets::parse(secret, format)"),
    ("split", "secrets::parse(secret, format)"),
    ("index_of", "secrets::parse(secret, format)"),
    ("replace", "secrets::fill(text, secrets)"),
    ("sub_string", "secrets::parse(secret, format)"),
    ("trim", "secrets::parse(secret, format)"),
];

fn refusal(ctx: &NativeCallContext<'_>, function: &str, instead: &str) -> Box<EvalAltResult> {
    let error = OpError::invalid(format!("`{function}` looks into a secret, whose value no script has"));
    to_rhai_error(&error.hint(format!("use {instead}, which is recorded")), ctx.call_position())
}

fn thrown(ctx: &NativeCallContext<'_>, result: Result<Secret, OpError>) -> RhaiResult {
    match result {
        Ok(secret) => Ok(Dynamic::from(Handle(secret))),
        Err(error) => Err(to_rhai_error(&error, ctx.call_position())),
    }
}

/// The secret of this name, in the version that is current where it is used.
fn named(ctx: NativeCallContext<'_>, name: ImmutableString) -> RhaiResult {
    if is_name(&name) {
        return Ok(Dynamic::from(Handle(Secret::named(name.as_str()))));
    }
    let shown = shown(&name).into_owned();
    let error = OpError::invalid(format!("secret(\"{}\"): this is no name", shown.escape_debug()))
        .hint("names are parts of letters, digits, `-`, `_` and `.`, with `/` between them");
    Err(to_rhai_error(&error, ctx.call_position()))
}

/// Adds `secret(name)`, and what can and cannot be done with one.
pub(crate) fn install(module: &mut Module) {
    module.set_custom_type::<Handle>("secret");
    FuncRegistration::new("secret").set_into_module(module, named);
    for name in ["to_string", "to_debug", "print", "debug"] {
        FuncRegistration::new(name)
            .set_into_module(module, |secret: &mut Handle| ImmutableString::from(marked(&secret.0)));
    }
    FuncRegistration::new("+").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, secret: Handle, other: Dynamic| {
            thrown(&ctx, expression(&other).map(|other| secret.0.then(other)))
        },
    );
    FuncRegistration::new("+").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, other: Dynamic, secret: Handle| {
            thrown(&ctx, expression(&other).map(|other| other.then(secret.0)))
        },
    );
    FuncRegistration::new("+")
        .set_into_module(module, |one: Handle, other: Handle| Handle(one.0.then(other.0)));
    for name in ["len", "is_empty", "chars", "bytes", "to_upper", "to_lower", "to_chars"] {
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, _: &mut Handle| -> RhaiResult {
                Err(refusal(&ctx, name, "secrets::length(secret)"))
            },
        );
    }
    for (name, instead) in REFUSED {
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, _: Handle, _: Dynamic| -> RhaiResult {
                Err(refusal(&ctx, name, instead))
            },
        );
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, _: Dynamic, _: Handle| -> RhaiResult {
                Err(refusal(&ctx, name, instead))
            },
        );
        FuncRegistration::new(name).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, _: Handle, _: Handle| -> RhaiResult {
                Err(refusal(&ctx, name, instead))
            },
        );
    }
}
