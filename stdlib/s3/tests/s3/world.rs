//! What the tests share: a bucket, and calls of operations.

use std::path::PathBuf;
use std::sync::Arc;

use hob_model::{OpError, Value};
use hob_s3_server::{ACCESS_KEY, S3Server, SECRET_KEY};
use hob_std_s3::Address;
use hob_std_s3::fake::Fake;
use hob_std_s3::live::Live;
use hob_std_s3::port::{Bucket, Connection, Login, Objects};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

pub(crate) struct World {
    pub(crate) server: Option<S3Server>,
    pub(crate) harness: Harness,
}

impl World {
    /// A server in memory.
    pub(crate) fn fake() -> Self {
        Self { server: None, harness: Harness::new().port::<dyn Objects>(Arc::new(Fake::new())) }
    }

    /// A real one.
    pub(crate) fn live() -> Self {
        let server = S3Server::start().expect("the server comes up");
        Self { server: Some(server), harness: Harness::new().port::<dyn Objects>(Arc::new(Live)) }
    }

    /// One of each, with a bucket `photos`.
    pub(crate) fn both() -> [Self; 2] {
        let worlds = [Self::fake(), Self::live()];
        for world in &worlds {
            assert_eq!(world.call("ensure_bucket", json!([])).unwrap(), json!({ "created": true }));
        }
        worlds
    }

    /// A bucket with its login.
    pub(crate) fn bucket(&self, name: &str) -> Json {
        let address = match &self.server {
            Some(server) => server.bucket(name),
            None => format!("http://127.0.0.1:9/{name}"),
        };
        json!({ "bucket": address, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY })
    }

    /// A bucket as the operations see it.
    pub(crate) fn open(&self, name: &str) -> Arc<dyn Bucket> {
        let objects = self.harness.context(Value::Unit).port::<dyn Objects>().unwrap();
        let address = Address::parse(self.bucket(name)["bucket"].as_str().unwrap()).unwrap();
        let secret_key = SECRET_KEY.as_bytes().to_vec().into();
        let login = Some(Login { access_key: ACCESS_KEY.to_owned(), secret_key, session_token: None });
        objects.open(Connection { address, region: None, is_virtual: None, ca: None, login }).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.harness.dir().join(name)
    }

    /// Calls an operation on the bucket `photos`.
    pub(crate) fn call(&self, name: &str, args: Json) -> Result<Json, OpError> {
        self.call_on(self.bucket("photos"), name, args)
    }

    pub(crate) fn call_on(&self, bucket: Json, name: &str, mut args: Json) -> Result<Json, OpError> {
        args.as_array_mut().unwrap().insert(0, bucket);
        let done = self.harness.call(&hob_std_s3::primitive(), &format!("storage::s3::{name}"), args)?;
        Ok(done.to_json().unwrap())
    }

    /// What a dry run goes on with.
    pub(crate) fn model(&self, name: &str, mut args: Json) -> Result<Json, OpError> {
        args.as_array_mut().unwrap().insert(0, self.bucket("photos"));
        let done = self.harness.model(&hob_std_s3::primitive(), &format!("storage::s3::{name}"), args)?;
        Ok(done.to_json().unwrap())
    }
}
