//! What a request is refused with: a status, and the problem as JSON.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hob_model::{Code, Diagnostic};
use hob_runs::RunError;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::Value as Json;

use crate::view::problem_json;

/// Why a request gets no answer of its own.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) problem: Diagnostic,
    headers: HeaderMap,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, problem: Diagnostic) -> Self {
        Self { status, problem, headers: HeaderMap::new() }
    }

    /// The request itself is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Diagnostic::error(Code::Usage, message))
    }

    /// The access rules say no.
    pub(crate) fn access(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, Diagnostic::error(Code::Unauthorized, message))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// As [`Refusal::header`], for a text that is made here; one that no header can hold is left out.
    pub(crate) fn header_text(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// The status that fits a problem.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::NoSuchRun | Code::NoSuchPosition | Code::UnknownName => StatusCode::NOT_FOUND,
        Code::WrongRunState
        | Code::InDoubt
        | Code::ReplayDiffers
        | Code::StateLocked
        | Code::ServiceHeld
        | Code::PlanStale => StatusCode::CONFLICT,
        Code::Denied => StatusCode::FORBIDDEN,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::JournalStopped | Code::StateUnusable | Code::NoDaemon => StatusCode::SERVICE_UNAVAILABLE,
        Code::JournalCorrupt | Code::JournalTooNew | Code::ServiceFailed => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Usage | Code::WrongArguments | Code::UnknownOption => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<Diagnostic> for Refusal {
    fn from(problem: Diagnostic) -> Self {
        Self::new(status_of(problem.code), problem)
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        error.diagnostic().into()
    }
}

impl From<hob_journal::JournalError> for Refusal {
    fn from(error: hob_journal::JournalError) -> Self {
        hob_runs::journal_diagnostic(&error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_reply(self.status, &problem_json(&self.problem));
        response.headers_mut().extend(self.headers);
        response
    }
}

/// An answer in JSON, with a line end for those who read it in a terminal.
pub(crate) fn json_reply(status: StatusCode, json: &Json) -> Response {
    let mut text = hob_primitive::filtered(json.to_string());
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
