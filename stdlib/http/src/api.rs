//! The operations of `http`.

use hob_primitive::primitive;

pub use operations::primitive;

/// Requests to web servers.
///
/// A response is a map: `status`, `headers` (by lower-case name), `body` (a text if it is one, else a blob), `url` (after
/// redirects) and `elapsed_ms`. A status of 400 and above is an error unless `check: false` is passed. Nothing is taken
/// from the environment, no cookie is kept, and nothing is tried again unless `retry` asks for it.
///
/// A dry run sends GET and HEAD. What may change something is not sent: its options are checked, and the script goes on
/// with status 200, no headers and an empty body.
#[primitive(name = "http")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, PathText};
    use http::Method;

    use crate::answer::{Reading, answer, modelled};
    use crate::certificate::CertificateOptions;
    use crate::download;
    use crate::exchange::exchange;
    use crate::options::{self, DownloadOptions, RequestOptions};

    async fn perform(
        cx: Ctx,
        method: Method,
        url: String,
        options: RequestOptions,
    ) -> Result<Value, OpError> {
        let request = options.request(&cx, method, &url)?;
        let reading = Reading {
            started: cx.now(),
            limit: options.limit.0,
            check: options.check,
            decode: options.decode,
        };
        let exchange = exchange(&cx, request.clone(), options.redirects).await?;
        answer(&cx, &request, exchange, reading).await
    }

    /// What a dry run gives for a request that it does not send.
    fn model(cx: &Ctx, method: Method, mut args: Args) -> Result<Value, OpError> {
        let url: String = args.next("url")?;
        let options: RequestOptions = args.options()?;
        Ok(modelled(&options.request(cx, method, &url)?, options.decode))
    }

    fn model_post(cx: &Ctx, args: Args) -> Result<Value, OpError> {
        model(cx, Method::POST, args)
    }

    fn model_put(cx: &Ctx, args: Args) -> Result<Value, OpError> {
        model(cx, Method::PUT, args)
    }

    fn model_patch(cx: &Ctx, args: Args) -> Result<Value, OpError> {
        model(cx, Method::PATCH, args)
    }

    fn model_delete(cx: &Ctx, args: Args) -> Result<Value, OpError> {
        model(cx, Method::DELETE, args)
    }

    fn model_request(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let method: String = args.next("method")?;
        model(cx, options::method(&method)?, args)
    }

    fn model_download(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (url, path): (String, PathText) = (args.next("url")?, args.next("path")?);
        download::modelled(cx, &url, &path.0, &args.options()?)
    }

    /// Gets what is at an address.
    ///
    /// Class `observe`: GET is safe (RFC 9110, section 9.2.1), so it may be sent again when its outcome is unknown.
    /// For a server that acts on GET pass `class: "once"`.
    ///
    /// Fails with `not_found`, `denied`, `conflict`, `invalid`, `timeout`, `unavailable` or `failed` by status, with
    /// `e.details.status` and the beginning of the body in `e.details.body`; `e.details.retry_after_ms` is what the
    /// server asks to wait. Without an answer it fails with `unavailable`, or `failed` where TLS is not trusted.
    ///
    /// ```rhai,no_run
    /// let health = http::get("http://127.0.0.1:3000/api/healthz", #{ timeout: "5s" });
    /// health.status == 200
    /// ```
    ///
    /// ```rhai
    /// try { http::get("ftp://example.net"); false } catch (e) { e.kind == "invalid" }
    /// ```
    #[operation(observe, permission = "http:{url.host}", timeout = "30s", returns = "map")]
    async fn get(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::GET, url, options).await
    }

    /// Gets the headers of what is at an address; the body is empty.
    ///
    /// Class `observe`: HEAD is safe (RFC 9110, section 9.2.1).
    ///
    /// Fails as `http::get`.
    ///
    /// ```rhai,no_run
    /// let size = parse_int(http::head("https://example.net/image.iso").headers["content-length"]);
    /// size > 0
    /// ```
    #[operation(observe, permission = "http:{url.host}", timeout = "30s", returns = "map")]
    async fn head(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::HEAD, url, options).await
    }

    /// Shows the certificate of a server: `#{ subject, issuer, names, not_before, not_after, days_left, problem }`.
    ///
    /// `days_left` is negative for one that has expired. One that is not trusted is shown, too: `problem` says why, and is
    /// `()` otherwise.
    ///
    /// Class `observe`: it sends a HEAD request, which is safe (RFC 9110, section 9.2.1).
    ///
    /// Fails as `http::get`, and with `invalid` for an address that is no `https:`.
    ///
    /// ```rhai,no_run
    /// let shown = http::certificate("https://git.example.net");
    /// shown.days_left > 14 && shown.problem == ()
    /// ```
    #[operation(observe, permission = "http:{url.host}", timeout = "30s", returns = "map")]
    async fn certificate(cx: Ctx, url: String, options: CertificateOptions) -> Result<Value, OpError> {
        crate::certificate::certificate(&cx, &url, &options).await
    }

    /// Sends something that the server is to process.
    ///
    /// Class `once`: POST is not idempotent (RFC 9110, section 9.2.2); whether an unanswered one was carried out, nobody
    /// can tell. Where the server knows `Idempotency-Key`, pass `idempotency_key: true` and `idempotent: true`: the key is
    /// the same on each attempt, and the request may be sent again.
    ///
    /// Fails as `http::get`. A refused connection is certain not to have done anything.
    ///
    /// ```rhai,no_run
    /// http::post("https://ntfy.sh/house", #{ body: "The backup is done.", headers: #{ Title: "hob" } }).status == 200
    /// ```
    ///
    /// ```rhai,no_run
    /// http::post("https://pay.example.net/orders", #{ json: #{ item: 7 }, idempotency_key: true, idempotent: true });
    /// ```
    #[operation(once, permission = "http:{url.host}", timeout = "30s", returns = "map", model = model_post)]
    async fn post(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::POST, url, options).await
    }

    /// Puts something at an address.
    ///
    /// Class `ensure`: PUT is idempotent (RFC 9110, section 9.2.2): sent again, it makes the same so.
    ///
    /// Fails as `http::get`.
    ///
    /// ```rhai,no_run
    /// http::put("http://nas.lan/api/shares/media", #{ json: #{ read_only: true }, bearer: "token" }).status < 300
    /// ```
    #[operation(ensure, permission = "http:{url.host}", timeout = "30s", returns = "map", model = model_put)]
    async fn put(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::PUT, url, options).await
    }

    /// Changes a part of what is at an address.
    ///
    /// Class `once`: PATCH is not idempotent (RFC 5789): a patch may append or count. Where yours only sets fields, pass
    /// `idempotent: true`.
    ///
    /// Fails as `http::get`.
    ///
    /// ```rhai,no_run
    /// http::patch("http://nas.lan/api/users/7", #{ json: #{ quota: "1T" }, idempotent: true }).status < 300
    /// ```
    #[operation(once, permission = "http:{url.host}", timeout = "30s", returns = "map", model = model_patch)]
    async fn patch(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::PATCH, url, options).await
    }

    /// Deletes what is at an address.
    ///
    /// Class `ensure`: DELETE is idempotent (RFC 9110, section 9.2.2). When an earlier attempt went through, the second
    /// answers 404 or 410; catch `not_found` where that counts as done.
    ///
    /// Fails as `http::get`.
    ///
    /// ```rhai,no_run
    /// http::delete("http://nas.lan/api/snapshots/42", #{ basic: #{ user: "ada", password: "secret" } }).status < 300
    /// ```
    #[operation(ensure, permission = "http:{url.host}", timeout = "30s", returns = "map", model = model_delete)]
    async fn delete(cx: Ctx, url: String, options: RequestOptions) -> Result<Value, OpError> {
        perform(cx, Method::DELETE, url, options).await
    }

    /// Sends a request with any method.
    ///
    /// Class `once`, since the method may be any; pass `idempotent: true` where it is safe to send twice.
    ///
    /// Fails as `http::get`.
    ///
    /// ```rhai,no_run
    /// http::request("PROPFIND", "https://cloud.example.net/dav/", #{ headers: #{ Depth: 1 }, idempotent: true }).status == 207
    /// ```
    #[operation(once, permission = "http:{url.host}", timeout = "30s", returns = "map", model = model_request)]
    async fn request(
        cx: Ctx,
        method: String,
        url: String,
        options: RequestOptions,
    ) -> Result<Value, OpError> {
        let method = options::method(&method)?;
        perform(cx, method, url, options).await
    }

    /// Downloads a file: `#{ path, bytes, sha256, changed, resumed_from, etag }`.
    ///
    /// Class `ensure`: it makes the file be there, in one step and whole. What arrives is kept beside the target as
    /// `.NAME.hob-part` and, when the server can tell that it still has the same file, continued from there after a
    /// failure. With `sha256`, a file that is already right is left alone and nothing is requested.
    ///
    /// Fails as `http::get`; with `failed` when the checksum is another one (nothing is left then); with `conflict`
    /// when another download writes the same target; with `not_found` when the target's directory is missing.
    ///
    /// A dry run requests nothing: the result has 0 `bytes`, and `sha256` is the one that was asked for, or empty.
    ///
    /// ```rhai,no_run
    /// let iso = http::download("https://example.net/debian.iso", "/mnt/media/debian.iso", #{
    ///     sha256: "9c5a1b0f3b1d7f0f5b8e4c8ff9d0a6c1a8c0d7a1f2e3b4c5d6e7f8091a2b3c4d",
    /// });
    /// iso.bytes > 0
    /// ```
    #[operation(ensure, permission = "http:{url.host} files.write:{path}", returns = "map", model = model_download)]
    async fn download(
        cx: Ctx,
        url: String,
        path: PathText,
        options: DownloadOptions,
    ) -> Result<Value, OpError> {
        download::download(&cx, &url, &path.0, &options).await
    }
}
