//! The primitive `storage::s3`: objects on servers that speak S3 (AWS, `MinIO`, Garage, Ceph, SeaweedFS …).
//!
//! | module | holds |
//! |---|---|
//! | `api`, `buckets` | the operations |
//! | [`address`], `place` | how scripts write where a bucket is |
//! | `file` | files on their way to a server and back |
//! | [`port`] | the trait to the servers |
//! | [`live`] | the adapter: signed requests, parts, retries |
//! | `problem` | what servers answer, in words that name cause and cure |
//! | [`fake`] | servers in memory, for tests |
//!
//! The crate is also the client of backups whose repository is in a bucket.

pub mod address;
mod api;
mod buckets;
pub mod fake;
mod file;
pub mod live;
mod place;
pub mod port;
mod problem;

pub use address::Address;

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> hob_primitive::Primitive {
    let mut whole = api::primitive();
    whole.operations.extend(buckets::primitive().operations);
    whole
}

/// Plugs in the servers that this machine reaches.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn port::Objects>(std::sync::Arc::new(live::Live));
}
