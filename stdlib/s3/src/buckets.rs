//! The operations on buckets themselves.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Buckets; joined with the rest of `storage::s3`.
#[primitive(name = "storage::s3")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx};

    use crate::place::{Place, Reach};

    /// Lists the buckets that the login may see, each with `name` and `created_at`.
    ///
    /// A bucket in the address is passed over.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// let nas = #{ bucket: "https://minio.lan:9000", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::buckets(nas).map(|it| it.name)
    /// ```
    #[operation(observe, permission = "storage.s3.buckets", returns = "array")]
    fn buckets(cx: &Ctx, server: Place) -> Result<Value, OpError> {
        let buckets = server.open(cx, Reach::Server)?.buckets()?;
        let told = buckets.into_iter().map(|(name, created)| {
            let created = created.map(|time| Value::from(time.to_string())).unwrap_or_default();
            Value::map([("name", Value::from(name)), ("created_at", created)])
        });
        Ok(Value::Array(told.collect()))
    }

    /// Makes a bucket, unless it is there: `#{ created }`.
    ///
    /// Class `ensure`: one that is there stays as it is.
    ///
    /// A dry run makes none.
    ///
    /// Fails with `conflict` when somebody else has one of that name.
    ///
    /// ```rhai,no_run
    /// let photos = #{ bucket: "https://minio.lan:9000/photos", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::ensure_bucket(photos).created
    /// ```
    #[operation(ensure, permission = "storage.s3.ensure_bucket", returns = "map", model = model_bucket)]
    fn ensure_bucket(cx: &Ctx, bucket: Place) -> Result<Value, OpError> {
        let created = bucket.open(cx, Reach::Bucket)?.create()?;
        Ok(Value::map([("created", Value::from(created))]))
    }

    fn model_bucket(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let bucket: Place = args.next("bucket")?;
        let _ = bucket.open(cx, Reach::Bucket)?;
        Ok(Value::map([("created", Value::from(true))]))
    }

    /// Removes an empty bucket: `#{ removed }`.
    ///
    /// Class `ensure`: one that is gone is removed.
    ///
    /// A dry run removes none.
    ///
    /// Fails with `conflict` while there are objects in it.
    ///
    /// ```rhai,no_run
    /// let old = #{ bucket: "https://minio.lan:9000/old", access_key: "hob", secret_key: secrets::get("minio") };
    /// storage::s3::remove_bucket(old).removed
    /// ```
    #[operation(ensure, permission = "storage.s3.remove_bucket", returns = "map", model = model_remove)]
    fn remove_bucket(cx: &Ctx, bucket: Place) -> Result<Value, OpError> {
        let removed = bucket.open(cx, Reach::Bucket)?.delete()?;
        Ok(Value::map([("removed", Value::from(removed))]))
    }

    fn model_remove(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let bucket: Place = args.next("bucket")?;
        let _ = bucket.open(cx, Reach::Bucket)?;
        Ok(Value::map([("removed", Value::from(true))]))
    }
}
