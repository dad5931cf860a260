//! What scripts may ask for, and the request that it makes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hob_model::{OpError, Value};
use hob_primitive::{
    Choice, Content, Ctx, FromValue, Mismatch, Mode, Nested, Options, SecretContent, SecretText, SecretValue,
    Size, check_depth,
};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::port::{Request, Route};
use crate::{
    DOWNLOAD_BYTES_MAX, HEADERS_MAX, REDIRECTS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, URL_BYTES_MAX,
};

/// Values by name, some of which may be secrets.
type SecretValues = BTreeMap<String, SecretValue>;

/// Name and password.
#[derive(Clone, Debug, Options)]
pub(crate) struct Basic {
    /// The name.
    user: String,
    /// The password.
    password: Option<SecretText>,
}

/// How the connection is trusted.
#[derive(Clone, Debug, Options)]
pub(crate) struct Tls {
    /// Whether the server's certificate is checked.
    #[option(default = "true")]
    verify: bool,
    /// A file with certificate authorities (PEM) to trust beside the system's.
    ca: Option<String>,
    /// A file with the client's certificate (PEM).
    cert: Option<String>,
    /// A file with the key of `cert` (PEM).
    key: Option<String>,
}

/// `true` for hob's own key of the call, or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdempotencyKey {
    None,
    Own,
    Text(String),
}

impl FromValue for IdempotencyKey {
    const KIND: &'static str = "bool or string";

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bool(true) => Ok(Self::Own),
            Value::Bool(false) => Ok(Self::None),
            Value::String(text) if !text.is_empty() => Ok(Self::Text(text)),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// How a body is given to the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub(crate) enum Decode {
    /// A text if it is one, else a blob.
    Auto,
    /// A text; anything else is an error.
    Text,
    /// Always a blob.
    Blob,
}

/// What a request may ask for.
#[derive(Clone, Debug, Options)]
pub(crate) struct RequestOptions {
    /// Headers by name.
    headers: Option<SecretValues>,
    /// Parameters of the address, added to those it has; an array repeats one.
    query: Option<BTreeMap<String, Value>>,
    /// The body: a text, a blob or a secret.
    body: Option<SecretContent>,
    /// The body as a value that is sent as JSON.
    json: Option<SecretValue>,
    /// The body as fields of a form, URL-encoded.
    form: Option<SecretValues>,
    /// The body as parts: a text, a blob, or `#{ content, filename, type }` for each.
    multipart: Option<BTreeMap<String, Value>>,
    /// A token for `Authorization: Bearer`.
    bearer: Option<SecretText>,
    /// `#{ user, password }` for `Authorization: Basic`.
    basic: Option<Nested<Basic>>,
    /// `true` to send hob's key of this call as `Idempotency-Key`, the same on each attempt; or a key of your own.
    #[option(default = "IdempotencyKey::None")]
    idempotency_key: IdempotencyKey,
    /// How many redirects to follow; 0 gives the redirect itself.
    #[option(default = "REDIRECTS_MAX")]
    pub(crate) redirects: u32,
    /// `#{ verify, ca, cert, key }`: how the connection is trusted.
    tls: Option<Nested<Tls>>,
    /// A proxy: `"http://…"`, `"https://…"` or `"socks5://…"`. The environment is not looked at.
    proxy: Option<String>,
    /// A Unix socket to connect to; the address still names host and path.
    unix_socket: Option<String>,
    /// Whether a status of 400 and above is an error.
    #[option(default = "true")]
    pub(crate) check: bool,
    /// The longest body to accept.
    #[option(default = "Size(RESPONSE_BYTES_MAX)")]
    pub(crate) limit: Size,
    /// Whether the body is given as a text if it is one (`"auto"`), must be one (`"text"`) or is a blob (`"blob"`).
    #[option(default = "Decode::Auto")]
    pub(crate) decode: Decode,
}

/// What a download may ask for.
#[derive(Clone, Debug, Options)]
pub(crate) struct DownloadOptions {
    /// The SHA-256 of the file, in hexadecimal; another one is an error and leaves nothing at the target.
    pub(crate) sha256: Option<String>,
    /// Whether to keep what has arrived when it breaks off, and to go on from there.
    #[option(default = "true")]
    pub(crate) resume: bool,
    /// The permissions of the file; left out: what the system gives new files.
    pub(crate) mode: Option<Mode>,
    /// The largest file to accept.
    #[option(default = "Size(DOWNLOAD_BYTES_MAX)")]
    pub(crate) limit: Size,
    /// Headers by name.
    headers: Option<SecretValues>,
    /// Parameters of the address, added to those it has; an array repeats one.
    query: Option<BTreeMap<String, Value>>,
    /// A token for `Authorization: Bearer`.
    bearer: Option<SecretText>,
    /// `#{ user, password }` for `Authorization: Basic`.
    basic: Option<Nested<Basic>>,
    /// How many redirects to follow.
    #[option(default = "REDIRECTS_MAX")]
    pub(crate) redirects: u32,
    /// `#{ verify, ca, cert, key }`: how the connection is trusted.
    tls: Option<Nested<Tls>>,
    /// A proxy: `"http://…"`, `"https://…"` or `"socks5://…"`. The environment is not looked at.
    proxy: Option<String>,
    /// A Unix socket to connect to; the address still names host and path.
    unix_socket: Option<String>,
}

impl DownloadOptions {
    /// The request of a download.
    pub(crate) fn request(&self, cx: &Ctx, url: &str) -> Result<Request, OpError> {
        let mut headers = headers(cx, self.headers.as_ref())?;
        let mut url = address(url, self.query.as_ref())?;
        authorize(cx, &mut headers, &mut url, self.bearer.as_ref(), self.basic.as_ref())?;
        let route = route(cx, self.tls.as_ref(), self.proxy.as_deref(), self.unix_socket.as_deref())?;
        Ok(Request { method: Method::GET, url, headers, body: Bytes::new(), route })
    }
}

impl RequestOptions {
    /// The request that these options make.
    pub(crate) fn request(&self, cx: &Ctx, method: Method, url: &str) -> Result<Request, OpError> {
        let mut headers = headers(cx, self.headers.as_ref())?;
        let mut url = address(url, self.query.as_ref())?;
        authorize(cx, &mut headers, &mut url, self.bearer.as_ref(), self.basic.as_ref())?;
        match &self.idempotency_key {
            IdempotencyKey::None => {}
            IdempotencyKey::Own => set(&mut headers, "idempotency-key", cx.key())?,
            IdempotencyKey::Text(key) => set(&mut headers, "idempotency-key", key)?,
        }
        let (body, kind) = self.body(cx)?;
        if let Some(kind) = kind.filter(|_| !headers.contains_key(CONTENT_TYPE)) {
            set(&mut headers, "content-type", &kind)?;
        }
        if body.len() > REQUEST_BYTES_MAX {
            return Err(OpError::invalid(format!(
                "the body has {} bytes, more than {REQUEST_BYTES_MAX}",
                body.len()
            )));
        }
        let route = route(cx, self.tls.as_ref(), self.proxy.as_deref(), self.unix_socket.as_deref())?;
        Ok(Request { method, url, headers, body: body.into(), route })
    }

    /// The body and its content type.
    fn body(&self, cx: &Ctx) -> Result<(Vec<u8>, Option<String>), OpError> {
        let given = [self.body.is_some(), self.json.is_some(), self.form.is_some(), self.multipart.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(OpError::invalid(
                "a request has one body: give one of `body`, `json`, `form` and `multipart`",
            ));
        }
        if let Some(json) = &self.json {
            check_depth(&json.0)?;
            let json = cx.open_value(&json.0)?;
            let json = json.to_json().map_err(|error| OpError::invalid(format!("option `json`: {error}")))?;
            return Ok((json.to_string().into_bytes(), Some("application/json".to_owned())));
        }
        if let Some(form) = &self.form {
            let mut out = url::form_urlencoded::Serializer::new(String::new());
            for (key, value) in open_pairs(cx, "form", form)? {
                out.append_pair(&key, &value);
            }
            return Ok((out.finish().into_bytes(), Some("application/x-www-form-urlencoded".to_owned())));
        }
        match (&self.multipart, &self.body) {
            (Some(parts), _) => multipart(parts),
            (None, Some(body)) => {
                let body = cx.open(&body.0)?;
                let text = std::str::from_utf8(&body).is_ok();
                let kind = if text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
                Ok((body.to_vec(), Some(kind.to_owned())))
            }
            (None, None) => Ok((Vec::new(), None)),
        }
    }
}

/// The method of this name.
pub(crate) fn method(name: &str) -> Result<Method, OpError> {
    Method::from_bytes(name.to_ascii_uppercase().as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| OpError::invalid(format!("`{}` is no method", name.escape_debug())))
}

pub(crate) fn address(text: &str, query: Option<&BTreeMap<String, Value>>) -> Result<Url, OpError> {
    if text.len() > URL_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "the address has {} bytes, more than {URL_BYTES_MAX}",
            text.len()
        )));
    }
    let mut url = Url::parse(text).map_err(|error| {
        OpError::invalid(format!("this is no address: {error}"))
            .hint("write for example \"https://example.net/path\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OpError::invalid(format!(
            "`{}:` is no scheme for http: use http or https",
            url.scheme()
        )));
    }
    url.set_fragment(None);
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        url.query_pairs_mut().extend_pairs(pairs("query", query)?);
    }
    Ok(url)
}

/// Keys with their texts, one for each item of an array.
fn pairs<'v>(
    option: &str,
    map: impl IntoIterator<Item = (&'v String, &'v Value)>,
) -> Result<Vec<(String, String)>, OpError> {
    let mut out = Vec::new();
    for (key, value) in map {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            Value::Unit => &[],
            one => std::slice::from_ref(one),
        };
        for item in items {
            let text = scalar(item).ok_or_else(|| {
                OpError::invalid(format!(
                    "option `{option}`: `{key}`: expected a text or a number, got {}",
                    item.type_name()
                ))
            })?;
            out.push((key.clone(), text));
        }
    }
    Ok(out)
}

/// As [`pairs`], with the secrets among them open.
fn open_pairs(cx: &Ctx, option: &str, map: &SecretValues) -> Result<Vec<(String, String)>, OpError> {
    let open = map.iter().map(|(key, value)| Ok((key, cx.open_value(&value.0)?)));
    let open: Vec<_> = open.collect::<Result<_, OpError>>()?;
    let values = open.iter().map(|(key, value)| (*key, &**value));
    pairs(option, values)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(v) => Some(v.to_string()),
        Value::Int(v) => Some(v.to_string()),
        Value::Float(v) => Some(v.to_string()),
        Value::Char(v) => Some(v.to_string()),
        Value::String(v) => Some(v.clone()),
        _ => None,
    }
}

fn headers(cx: &Ctx, given: Option<&SecretValues>) -> Result<HeaderMap, OpError> {
    let mut headers = HeaderMap::new();
    let Some(given) = given else { return Ok(headers) };
    for (name, value) in open_pairs(cx, "headers", given)? {
        let parsed: HeaderName = name.parse().map_err(|_| {
            OpError::invalid(format!("option `headers`: `{}` is no name of a header", name.escape_debug()))
        })?;
        headers.append(parsed, header_value(&name, &value)?);
    }
    if headers.len() > HEADERS_MAX {
        return Err(OpError::invalid(format!("more than {HEADERS_MAX} headers")));
    }
    Ok(headers)
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), OpError> {
    headers.insert(name, header_value(name, value)?);
    Ok(())
}

/// The text as a header; it is not shown, since it may be a secret.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, OpError> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        OpError::invalid(format!("the header `{name}` has a line break or another control character"))
    })?;
    // Nobody prints it.
    value.set_sensitive(true);
    Ok(value)
}

/// Credentials from options or from the address, where they do not stay: addresses are shown.
fn authorize(
    cx: &Ctx,
    headers: &mut HeaderMap,
    url: &mut Url,
    bearer: Option<&SecretText>,
    basic: Option<&Nested<Basic>>,
) -> Result<(), OpError> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let inline = (!url.username().is_empty() || url.password().is_some())
        .then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
    // Neither fails for http and https, which have a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let given = basic.map(|Nested(basic)| {
        let password = basic.password.as_ref().map(|password| cx.open_text(&password.0)).transpose()?;
        Ok((basic.user.clone(), password.map_or_else(String::new, |it| it.to_string())))
    });
    let given = given.transpose()?;
    let count = usize::from(bearer.is_some()) + usize::from(given.is_some());
    if count > 1 || (count == 1 && headers.contains_key(AUTHORIZATION)) {
        return Err(OpError::invalid(
            "give credentials once: `bearer`, `basic` or the header `authorization`",
        ));
    }
    if let Some(token) = bearer {
        let token = cx.open_text(&token.0)?;
        return set(headers, "authorization", &format!("Bearer {}", &*token));
    }
    match given.or(inline.filter(|_| !headers.contains_key(AUTHORIZATION))) {
        None => Ok(()),
        Some((user, _)) if user.contains(':') => {
            Err(OpError::invalid("a user name for `basic` has no colon"))
        }
        Some((user, password)) => {
            let text = format!("{user}:{password}");
            set(headers, "authorization", &format!("Basic {}", STANDARD.encode(text)))
        }
    }
}

pub(crate) fn route(
    cx: &Ctx,
    tls: Option<&Nested<Tls>>,
    proxy: Option<&str>,
    unix_socket: Option<&str>,
) -> Result<Route, OpError> {
    let mut route = Route { unix_socket: unix_socket.map(|path| cx.resolve(path)), ..Route::default() };
    if let Some(Nested(tls)) = tls {
        route.insecure = !tls.verify;
        route.ca = tls.ca.as_deref().map(|path| cx.resolve(path));
        route.identity = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => Some((cx.resolve(cert), cx.resolve(key))),
            (None, None) => None,
            _ => return Err(OpError::invalid("option `tls`: `cert` and `key` belong together")),
        };
    }
    if let Some(text) = proxy {
        let known = |url: &Url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
        let url = Url::parse(text).ok().filter(known).ok_or_else(|| {
            OpError::invalid("option `proxy`: this is no address of a proxy")
                .hint("write for example \"http://proxy.lan:3128\" or \"socks5://127.0.0.1:1080\"")
        })?;
        route.proxy = Some(url);
    }
    Ok(route)
}

/// A body of `multipart/form-data` (RFC 7578) and its content type.
///
/// The boundary follows from the parts, so that the same call makes the same request, and is too long to occur in one.
fn multipart(parts: &BTreeMap<String, Value>) -> Result<(Vec<u8>, Option<String>), OpError> {
    let mut pieces = Vec::new();
    for (name, value) in parts {
        let refuse = |why: &str| OpError::invalid(format!("option `multipart`: `{name}`: {why}"));
        let (content, filename, kind) = match value {
            Value::Blob(bytes) => {
                (bytes.clone(), Some(name.clone()), Some("application/octet-stream".to_owned()))
            }
            Value::Map(map) => {
                let part = Nested::<Part>::read(Value::Map(map.clone())).map_err(|m| refuse(&m.message))?;
                (part.content.0, part.filename, part.r#type)
            }
            one => (
                scalar(one).ok_or_else(|| refuse("expected a text, a blob or a map"))?.into_bytes(),
                None,
                None,
            ),
        };
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
        if let Some(filename) = filename {
            head.push_str(&format!("; filename=\"{}\"", quoted(&filename)));
        }
        if let Some(kind) = kind {
            header_value("type", &kind)?;
            head.push_str(&format!("\r\nContent-Type: {kind}"));
        }
        pieces.push((head, content));
    }
    let mut digest = Sha256::new();
    for (head, content) in &pieces {
        digest.update(head);
        digest.update(content);
    }
    let boundary = format!("hob-{}", hex(&digest.finalize()));
    let mut body = Vec::new();
    for (head, content) in &pieces {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((body, Some(format!("multipart/form-data; boundary={boundary}"))))
}

/// One part of a form.
#[derive(Clone, Debug, Options)]
struct Part {
    /// A text or a blob.
    content: Content,
    /// The name of the file that it is.
    filename: Option<String>,
    /// Its content type.
    r#type: Option<String>,
}

/// Names as browsers write them between quotes (the HTML standard, "multipart form data").
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
