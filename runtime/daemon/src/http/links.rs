//! `/links/…`: the pages behind signed links that answer approvals.
//!
//! Whoever looks at a message looks at its links, too: chat services fetch them for a preview, mail filters for a check. So GET
//! only shows what is asked; POST answers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use hob_model::{Position, RunId, Wait};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use http::{Method, StatusCode};

use super::app::{App, wrong_method};
use super::reply::Refusal;
use crate::hub::Hub;
use crate::notices::links::BadLink;

/// What the page may do: show itself, and send its own form.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
/// The comment that is recorded with an answer.
const COMMENT: &str = "by a link";

/// How the page looks.
const STYLE: &str = "body{font:1.1rem system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color-scheme:light \
                     dark}button{font:inherit;padding:.5rem 1.5rem;margin-right:1rem}";

/// Shows an approval, or answers it.
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    method: Method,
    Path(link): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let answer = query.get("answer").cloned();
    let yes = match (&method, answer.as_deref()) {
        (&Method::GET | &Method::HEAD, _) => None,
        (&Method::POST, Some("approve")) => Some(true),
        (&Method::POST, Some("refuse")) => Some(false),
        (&Method::POST, _) => {
            return page(
                StatusCode::BAD_REQUEST,
                "Say <code>answer=approve</code> or <code>answer=refuse</code>.",
            );
        }
        _ => return wrong_method("GET, POST").into_response(),
    };
    let done = app.blocking(move |hub| Ok(settle(hub, &link, yes))).await;
    done.unwrap_or_else(|refusal: Refusal| refusal.into_response())
}

fn settle(hub: &dyn Hub, link: &str, yes: Option<bool>) -> Response {
    let read = hub.links().map(|links| links.read(link));
    let (run, position) = match read {
        Some(Ok(found)) => found,
        Some(Err(BadLink::Expired)) => return page(StatusCode::GONE, "This link is too old."),
        Some(Err(BadLink::Forged)) | None => {
            return page(StatusCode::NOT_FOUND, "This is no link of this hob.");
        }
    };
    let over = || page(StatusCode::GONE, "This was answered already, or it is not asked any more.");
    let Some((name, prompt)) = asked(hub, run, &position) else { return over() };
    let Some(yes) = yes else {
        return page(
            StatusCode::OK,
            &format!(
                "<p><b>{}</b> asks:</p><p>{}</p><form method=post><button formaction=\"?answer=approve\">Approve</button>\
                 <button formaction=\"?answer=refuse\">Refuse</button></form>",
                escaped(&name),
                escaped(&prompt)
            ),
        );
    };
    match hub.runs().approve(run, Some(&position), yes, COMMENT) {
        Ok(()) => page(StatusCode::OK, if yes { "Approved." } else { "Refused." }),
        // Somebody else answered in between.
        Err(_) if asked(hub, run, &position).is_none() => over(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// The name of the run and what it asks, if it still does.
fn asked(hub: &dyn Hub, run: RunId, position: &Position) -> Option<(String, String)> {
    let journal = hub.runs().journal();
    let row = journal.run(run).ok()??;
    match journal.wait_at(run, position).ok()??.wait {
        Wait::Approval { prompt, .. } => Some((row.name, prompt)),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("<br>"),
            other => out.push(other),
        }
    }
    out
}

fn page(status: StatusCode, content: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>hob</title><style>{STYLE}</style>{content}</html>\n"
    );
    let mut response = Response::new(Body::from(hob_primitive::filtered(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // The address of the page is the secret.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
