//! The operations on objects.

pub(crate) use operations::primitive;

use hob_model::Value;
use hob_primitive::primitive;

use crate::port::Object;

/// An object, as scripts see it.
fn shown(object: &Object) -> Value {
    let modified = object.modified.map(|time| Value::from(time.to_string())).unwrap_or_default();
    Value::map([
        ("key", Value::from(object.key.as_str())),
        ("bytes", Value::from(object.bytes)),
        ("etag", Value::from(object.etag.as_str())),
        ("modified_at", modified),
        ("storage_class", Value::from(object.storage_class.as_str())),
    ])
}

/// Objects in buckets of S3.
///
/// A bucket is written as its address, `"https://minio.lan:9000/photos"`, or as a map with `bucket`, `access_key`,
/// `secret_key` and, where it is needed, `session_token`, `region`, `style` (`"path"` or `"host"`) and `ca` (a file with
/// further certificate authorities). Without a login only what is public is reached.
///
/// Requests that servers put off are sent again, three times in all. What is sent carries a checksum that the server
/// compares; files carry their SHA-256 beside them, by which they are checked when they come back and known when they are
/// sent again.
#[primitive(name = "storage::s3")]
mod operations {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use bytes::Bytes;
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Content, Ctx, Mode, Options, PathText};

    use super::shown;
    use crate::file::{SHA256, Sent, fetch, noted, sha256};
    use crate::place::{Place, Reach};
    use crate::port::{About, Bucket, Listing, Object, Right};

    /// The largest object that is read into a value.
    const READ_BYTES_MAX: u64 = 32 << 20;

    /// The longest time that an address given away holds: S3 knows no longer one.
    const PRESIGN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

    /// The most entries of a list, unless told otherwise.
    const LISTED_MAX: usize = 10_000;

    /// What is said of an object that is written.
    #[derive(Debug, Options)]
    struct PutOptions {
        /// What it is, as a MIME type such as `"image/jpeg"`.
        content_type: Option<String>,
        /// How the server stores it, such as `"STANDARD_IA"`.
        storage_class: Option<String>,
        /// Notes beside it: texts by name.
        metadata: Option<BTreeMap<String, String>>,
    }

    impl PutOptions {
        fn about(self, sha256: String) -> Result<About, OpError> {
            let mut metadata = Vec::new();
            for (name, value) in self.metadata.unwrap_or_default() {
                let name = name.to_ascii_lowercase();
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if name.is_empty() || !name.chars().all(fits) || name == SHA256 {
                    return Err(OpError::invalid(format!(
                        "`metadata`: `{name}` cannot be the name of a note"
                    ))
                    .hint("letters, digits, `-` and `_`; `sha256` is hob's own"));
                }
                if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) || value.trim() != value {
                    return Err(OpError::invalid(format!("`metadata.{name}`: a note is one line of ASCII")));
                }
                metadata.push((name, value));
            }
            metadata.push((SHA256.to_owned(), sha256));
            Ok(About { content_type: self.content_type, storage_class: self.storage_class, metadata })
        }
    }

    fn stored(object: &Object, sha256: &str, changed: bool) -> Value {
        Value::map([
            ("key", Value::from(object.key.as_str())),
            ("bytes", Value::from(object.bytes)),
            ("etag", Value::from(object.etag.as_str())),
            ("sha256", Value::from(sha256)),
            ("changed", Value::from(changed)),
        ])
    }

    /// Sends a file to a bucket: `#{ key, bytes, etag, sha256, changed }`.
    ///
    /// What is there with the same content stays as it is, and `changed` is false. Large files go in parts, and nobody sees
    /// the object before it is whole.
    ///
    /// Class `ensure`: the same content under the same key is there once, however often it is sent.
    ///
    /// A dry run looks at what is there, and sends nothing.
    ///
    /// Fails with `not_found` when there is no such file or bucket, with `conflict` when the file is written to meanwhile,
    /// `denied` for a wrong login, and `unavailable` when the server cannot be reached or has no room.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::put(photos, "2026/beach.jpg", "/mnt/photos/beach.jpg", #{ content_type: "image/jpeg" }).changed
    /// ```
    #[operation(ensure, permission = "storage.s3.put files.read:{path}", returns = "map", model = model_put)]
    fn put(cx: &Ctx, to: Place, key: String, path: PathText, options: PutOptions) -> Result<Value, OpError> {
        let to = to.open(cx, Reach::Bucket)?;
        let mut sent = Sent::open(cx, &cx.resolve(&path.0))?;
        if let Some(there) = to.head(&key)?.filter(|there| sent.is(there)) {
            return Ok(stored(&there, &sent.sha256, false));
        }
        let about = options.about(sent.sha256.clone())?;
        let object = to.put(&key, &mut sent, &about)?;
        Ok(stored(&object, &sent.sha256, true))
    }

    fn model_put(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (to, key): (Place, String) = (args.next("to")?, args.next("key")?);
        let path: PathText = args.next("path")?;
        let options: PutOptions = args.options()?;
        let to = to.open(cx, Reach::Bucket)?;
        let sent = Sent::open(cx, &cx.resolve(&path.0))?;
        options.about(sent.sha256.clone())?;
        let there = to.head(&key)?.filter(|there| sent.is(there));
        let is_there = there.is_some();
        let bytes = crate::port::Source::bytes(&sent);
        let object = there.unwrap_or_else(|| Object { key, bytes, ..Object::default() });
        Ok(stored(&object, &sent.sha256, !is_there))
    }

    /// Writes a text or a blob as an object: `#{ key, bytes, etag, sha256, changed }`.
    ///
    /// Class `ensure`: as `storage::s3::put`.
    ///
    /// A dry run looks at what is there, and sends nothing.
    ///
    /// Fails as `storage::s3::put`.
    ///
    /// ```rhai,no_run
    /// let house = #{ bucket: "https://minio.lan:9000/house", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::write(house, "status.json", json::stringify(#{ up: true }), #{ content_type: "application/json" });
    /// ```
    #[operation(ensure, permission = "storage.s3.write", returns = "map", model = model_write)]
    fn write(
        cx: &Ctx,
        to: Place,
        key: String,
        content: Content,
        options: PutOptions,
    ) -> Result<Value, OpError> {
        let (to, mut content) = (to.open(cx, Reach::Bucket)?, Bytes::from(content.0));
        let hash = sha256(&content);
        if let Some(there) = there(&*to, &key, &content, &hash)? {
            return Ok(stored(&there, &hash, false));
        }
        let object = to.put(&key, &mut content, &options.about(hash.clone())?)?;
        Ok(stored(&object, &hash, true))
    }

    fn model_write(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (to, key): (Place, String) = (args.next("to")?, args.next("key")?);
        let content: Content = args.next("content")?;
        let (to, content) = (to.open(cx, Reach::Bucket)?, Bytes::from(content.0));
        let hash = sha256(&content);
        args.options::<PutOptions>()?.about(hash.clone())?;
        let there = there(&*to, &key, &content, &hash)?;
        let is_there = there.is_some();
        let bytes = content.len() as u64;
        let object = there.unwrap_or_else(|| Object { key, bytes, ..Object::default() });
        Ok(stored(&object, &hash, !is_there))
    }

    fn there(to: &dyn Bucket, key: &str, content: &Bytes, hash: &str) -> Result<Option<Object>, OpError> {
        let is_it = |there: &Object| there.bytes == content.len() as u64 && noted(there) == Some(hash);
        Ok(to.head(key)?.filter(is_it))
    }

    /// Options of `storage::s3::get`.
    #[derive(Debug, Options)]
    struct GetOptions {
        /// Who may read and write the file, as in `0o640`.
        #[option(default = "Mode(0o600)")]
        mode: Mode,
    }

    /// Fetches an object to a file: `#{ path, bytes, sha256, etag }`.
    ///
    /// The file is replaced in one step, when all of one version has arrived. What was sent by hob is compared with the
    /// SHA-256 that it had.
    ///
    /// Class `ensure`: the file is as the object is, however often it is fetched.
    ///
    /// A dry run looks at the object, and writes nothing.
    ///
    /// Fails with `not_found`, with `conflict` when the object is replaced meanwhile, and with `failed` when its content
    /// was damaged.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::get(photos, "2026/beach.jpg", "beach.jpg").bytes
    /// ```
    #[operation(ensure, permission = "storage.s3.get files.write:{path}", returns = "map", model = model_get)]
    fn get(
        cx: &Ctx,
        from: Place,
        key: String,
        path: PathText,
        options: GetOptions,
    ) -> Result<Value, OpError> {
        let from = from.open(cx, Reach::Bucket)?;
        let path = cx.resolve(&path.0);
        let object = must(&*from, &key)?;
        let hash = fetch(cx, &*from, &object, &path, options.mode.0)?;
        Ok(fetched(&path, &object, &hash))
    }

    fn model_get(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (from, key): (Place, String) = (args.next("from")?, args.next("key")?);
        let path: PathText = args.next("path")?;
        let _: GetOptions = args.options()?;
        let object = must(&*from.open(cx, Reach::Bucket)?, &key)?;
        Ok(fetched(&cx.resolve(&path.0), &object, noted(&object).unwrap_or_default()))
    }

    fn must(from: &dyn Bucket, key: &str) -> Result<Object, OpError> {
        from.head(key)?.ok_or_else(|| OpError::not_found(format!("there is no object {key}")))
    }

    fn fetched(path: &std::path::Path, object: &Object, sha256: &str) -> Value {
        Value::map([
            ("path", Value::from(path.display().to_string())),
            ("bytes", Value::from(object.bytes)),
            ("sha256", Value::from(sha256)),
            ("etag", Value::from(object.etag.as_str())),
        ])
    }

    /// Reads an object of at most 32 MiB: a text if it is one, else a blob.
    ///
    /// Class `observe`: it only reads.
    ///
    /// Fails with `not_found`, and with `invalid` when it is larger.
    ///
    /// ```rhai,no_run
    /// let house = #{ bucket: "https://minio.lan:9000/house", access_key: "hob", secret_key: secrets::get("minio") };
    /// json::parse(storage::s3::read(house, "status.json")).up
    /// ```
    #[operation(observe, permission = "storage.s3.read", returns = "string or blob")]
    fn read(cx: &Ctx, from: Place, key: String) -> Result<Value, OpError> {
        let from = from.open(cx, Reach::Bucket)?;
        let object = must(&*from, &key)?;
        if object.bytes > READ_BYTES_MAX {
            let text = format!("{key} has {} bytes, more than a value takes", object.bytes);
            return Err(OpError::invalid(text).hint("fetch it to a file with `storage::s3::get`"));
        }
        let content = from.get(&key, None, Some(&object.etag))?;
        Ok(String::from_utf8(content.into()).map_or_else(|it| Value::Blob(it.into_bytes()), Value::from))
    }

    /// Tells what is known of an object: `key`, `bytes`, `etag`, `modified_at`, `storage_class`, `content_type`, and the
    /// notes beside it in `metadata`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`.
    ///
    /// ```rhai,no_run
    /// storage::s3::stat("https://minio.lan:9000/public", "index.html").content_type == "text/html"
    /// ```
    #[operation(observe, permission = "storage.s3.stat", returns = "map")]
    fn stat(cx: &Ctx, from: Place, key: String) -> Result<Value, OpError> {
        let object = must(&*from.open(cx, Reach::Bucket)?, &key)?;
        let Value::Map(mut told) = shown(&object) else { unreachable!("objects are shown as maps") };
        let metadata = object.metadata.into_iter().map(|(name, value)| (name, Value::from(value)));
        told.insert("content_type".to_owned(), object.content_type.into());
        told.insert("metadata".to_owned(), Value::Map(metadata.collect()));
        Ok(Value::Map(told))
    }

    /// Whether there is such an object.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// storage::s3::exists("https://minio.lan:9000/public", "index.html")
    /// ```
    #[operation(observe, permission = "storage.s3.exists", returns = "bool")]
    fn exists(cx: &Ctx, from: Place, key: String) -> Result<Value, OpError> {
        Ok(from.open(cx, Reach::Bucket)?.head(&key)?.is_some().into())
    }

    /// Options of `storage::s3::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Only objects whose keys begin so.
        #[option(default = "String::new()")]
        prefix: String,
        /// Whether what lies deeper than the next `/` is left out.
        #[option(default = "false")]
        flat: bool,
        /// The most objects that are told; more of them are an error.
        #[option(default = "LISTED_MAX")]
        limit: usize,
    }

    /// Lists the objects of a bucket by key, each with `key`, `bytes`, `etag`, `modified_at` and `storage_class`.
    ///
    /// With `flat: true` it tells what is at one level, as a directory would: then keys that end with `/` stand for all
    /// that is below, and have 0 bytes.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there is no such bucket, and with `invalid` when there are more than `limit` objects.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::list(photos, #{ prefix: "2026/" }).map(|it| it.key)
    /// ```
    #[operation(observe, permission = "storage.s3.list", returns = "array")]
    fn list(cx: &Ctx, from: Place, options: ListOptions) -> Result<Value, OpError> {
        let from = from.open(cx, Reach::Bucket)?;
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let delimiter = options.flat.then_some("/");
            let listing = Listing { prefix: &options.prefix, delimiter, limit: None, after: next.as_deref() };
            let page = from.list(&listing)?;
            all.extend(page.prefixes.into_iter().map(|key| Object { key, ..Object::default() }));
            all.extend(page.objects);
            next = page.next;
            if all.len() > options.limit {
                return Err(OpError::invalid(format!("there are more than {} objects", options.limit))
                    .hint("give a `prefix`, `flat: true`, or a larger `limit`"));
            }
            if cx.cancel().is_cancelled() {
                return Err(OpError::cancelled("cancelled"));
            }
            if next.is_none() {
                break;
            }
        }
        all.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Value::Array(all.iter().map(shown).collect()))
    }

    /// The keys of an argument: one, or several.
    fn keys(value: Value) -> Result<Vec<String>, OpError> {
        let wrong = || OpError::invalid("`keys`: expected a key or an array of keys");
        match value {
            Value::String(key) => Ok(vec![key]),
            Value::Array(all) => all
                .into_iter()
                .map(|it| match it {
                    Value::String(key) => Ok(key),
                    _ => Err(wrong()),
                })
                .collect(),
            _ => Err(wrong()),
        }
    }

    /// Removes objects, by one key or an array of them: how many keys were given.
    ///
    /// A bucket that keeps versions keeps the old ones.
    ///
    /// Class `ensure`: what is not there is removed.
    ///
    /// A dry run removes nothing.
    ///
    /// Fails with `not_found` when there is no such bucket, and with `denied` when the login may not remove.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// let old = storage::s3::list(photos, #{ prefix: "2019/" }).map(|it| it.key);
    /// storage::s3::remove(photos, old)
    /// ```
    #[operation(ensure, permission = "storage.s3.remove", returns = "int", model = model_remove)]
    fn remove(cx: &Ctx, from: Place, keys: Value) -> Result<Value, OpError> {
        let (from, keys) = (from.open(cx, Reach::Bucket)?, self::keys(keys)?);
        if !keys.is_empty() {
            from.remove(&keys)?;
        }
        Ok(keys.len().into())
    }

    fn model_remove(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let from: Place = args.next("from")?;
        let _ = from.open(cx, Reach::Bucket)?;
        Ok(keys(args.next("keys")?)?.len().into())
    }

    /// Options of `storage::s3::presign`.
    #[derive(Debug, Options)]
    struct PresignOptions {
        /// How long the address holds, seven days at most.
        #[option(default = "Duration::from_secs(3600)")]
        expires: Duration,
        /// Whether it is for writing the object instead of getting it.
        #[option(default = "false")]
        put: bool,
    }

    /// Makes an address with which anybody gets an object for a while, and writes it with `put: true`.
    ///
    /// Who has the address has the object: it is a password that ends. It is recorded as results are, so that it should
    /// hold no longer than it is needed.
    ///
    /// Class `observe`: nothing is asked of the server.
    ///
    /// Fails with `invalid` without a login, and when it is to hold longer than seven days.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::presign(photos, "2026/beach.jpg", #{ expires: "15m" })
    /// ```
    #[operation(observe, permission = "storage.s3.presign", returns = "string")]
    fn presign(cx: &Ctx, from: Place, key: String, options: PresignOptions) -> Result<Value, OpError> {
        if options.expires < Duration::from_secs(1) || options.expires > PRESIGN_MAX {
            return Err(OpError::invalid("`expires`: an address holds from one second to seven days"));
        }
        let right = if options.put { Right::Put } else { Right::Get };
        let url = from.open(cx, Reach::Bucket)?.presign(&key, right, options.expires, cx.now())?;
        Ok(String::from(url).into())
    }
}
