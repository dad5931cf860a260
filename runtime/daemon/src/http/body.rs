//! Bodies of requests, with a limit on their size and on the time they take.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hob_model::{Code, Diagnostic};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::reply::Refusal;

/// Reads a whole body of at most `max_bytes`, which arrives within `max_time`.
pub(crate) async fn read(body: Body, max_bytes: usize, max_time: Duration) -> Result<Bytes, Refusal> {
    let too_large = || {
        let text = format!("the body is larger than {max_bytes} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Diagnostic::error(Code::LimitReached, text))
    };
    let declared = hyper::body::Body::size_hint(&body).lower();
    if declared > max_bytes as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(max_time, Limited::new(body, max_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::usage(format!("the body breaks off: {error}"))),
        Err(_) => {
            let text = format!("the body did not arrive within {} s", max_time.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, Diagnostic::error(Code::Usage, text)))
        }
    }
}
