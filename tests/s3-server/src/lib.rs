//! A server for tests that speaks S3 and checks signatures: `s3s-fs`, on a port of its own.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The access key.
pub const ACCESS_KEY: &str = "hob";

/// The secret key.
pub const SECRET_KEY: &str = "s3cr3t-of-the-house";

/// A server. It ends with this value; what it stores goes with it.
pub struct S3Server {
    address: SocketAddr,
    place: tempfile::TempDir,
    // Dropped first of all that matters: with it all connections end.
    runtime: Option<Runtime>,
}

impl S3Server {
    /// One without buckets.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> io::Result<Self> {
        let place = tempfile::tempdir()?;
        let files = FileSystem::new(place.path()).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(serve(listener, service));
        Ok(Self { address, place, runtime: Some(runtime) })
    }

    /// The address of a bucket: `http://127.0.0.1:PORT/BUCKET`.
    #[must_use]
    pub fn bucket(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The file of an object. Who changes it plays a disk that fails.
    #[must_use]
    pub fn file(&self, bucket: &str, key: &str) -> PathBuf {
        self.place.path().join(bucket).join(key)
    }

    /// Where everything is stored.
    #[must_use]
    pub fn place(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            // A client that leaves is its own business.
            let _ = Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
