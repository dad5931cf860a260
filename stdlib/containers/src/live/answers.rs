//! What an engine answers, in the words of the port.

use bollard::container::LogOutput;
use bollard::models;
use futures_util::{Stream, StreamExt, stream};

use crate::port::{Channel, Chunk, EngineError, Step};

/// A stream that is opened when it is first looked at: bollard's borrow the client, ours own it.
pub(super) fn async_stream<T: Send + 'static>(
    open: impl FnOnce() -> stream::BoxStream<'static, Result<T, EngineError>> + Send + 'static,
) -> impl Stream<Item = Result<T, EngineError>> + Send {
    stream::once(async move { open() }).flatten()
}

pub(super) fn chunk(output: LogOutput) -> Chunk {
    match output {
        LogOutput::StdErr { message } => Chunk { stream: Channel::Stderr, bytes: message },
        other => Chunk { stream: Channel::Stdout, bytes: other.into_bytes() },
    }
}

/// How many bytes are done, and of how many.
pub(super) fn amount(detail: Option<models::ProgressDetail>) -> Option<(u64, u64)> {
    let detail = detail?;
    Some((u64::try_from(detail.current?).ok()?, u64::try_from(detail.total?).ok()?))
}

pub(super) fn build_step(info: models::BuildInfo) -> Step {
    Step {
        id: info.id,
        text: info.stream.or(info.status).unwrap_or_default(),
        bytes: amount(info.progress_detail),
        image: None,
    }
}

/// What was removed of images: their ids, and names that lost theirs.
pub(super) fn removed(items: Vec<models::ImageDeleteResponseItem>) -> Vec<String> {
    items.into_iter().filter_map(|item| item.deleted.or(item.untagged)).collect()
}

pub(super) fn bytes(count: Option<i64>) -> u64 {
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// The API takes seconds as 32 bits; what is later than that is as good as never.
pub(super) fn seconds(since_epoch: i64) -> i32 {
    i32::try_from(since_epoch).unwrap_or(i32::MAX)
}
