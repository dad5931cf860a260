//! The OpenAPI document, made of the routes' own declarations (<https://spec.openapis.org/oas/v3.1.0>).

use axum::response::Response;
use hob_model::{EffectClass, EntryStatus, RunStatus};
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};

use super::api::ROUTES;
use super::query::{Field, Kind};
use super::reply::json_reply;
use super::route::{API_PREFIX, Answer, Route};

/// Where the document is, below [`API_PREFIX`].
pub(crate) const PATH: &str = "/openapi.json";

pub(crate) async fn document() -> Response {
    json_reply(StatusCode::OK, &make())
}

fn make() -> Json {
    let mut paths = Map::new();
    for route in ROUTES {
        let methods = paths.entry(format!("{API_PREFIX}{}", route.path)).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "hob", "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs, events and services of a hob. Over the socket no token is needed." },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer",
                "description": "the text of the token file in the state directory" } },
        },
    })
}

fn operation(route: &Route) -> Json {
    let in_path =
        route.path.split(['{', '}']).skip(1).step_by(2).map(
            |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    let in_query = route.query.iter().map(|field| {
        json!({
            "name": field.name,
            "in": "query",
            "required": field.required,
            "description": field.about,
            "schema": schema_of(field.kind),
            "style": "form",
            "explode": false,
        })
    });
    let parameters: Vec<Json> = in_path.chain(in_query).collect();
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.about,
        "parameters": parameters,
        "responses": {
            route.status.as_str(): { "description": "done", "content": content(route.answer) },
            "default": {
                "description": "refused",
                "content": { "application/json": { "schema": reference("Problem") } },
            },
        },
    });
    if route.method == Method::POST {
        operation["requestBody"] = json!({
            "required": route.body.iter().any(|field| field.required),
            "content": { "application/json": { "schema": body_schema(route.body) } },
        });
    }
    operation
}

fn body_schema(fields: &[Field]) -> Json {
    let properties: Map<String, Json> = fields
        .iter()
        .map(|field| {
            let mut schema = schema_of(field.kind);
            schema["description"] = Json::from(field.about);
            (field.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn schema_of(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Count => json!({ "type": "integer", "minimum": 0 }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration => json!({ "type": "string", "examples": ["90s", "1h30m"] }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Map => json!({ "type": "object" }),
        Kind::Any => json!({}),
    }
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(answer: Answer) -> Json {
    let list = |name| json!({ "schema": { "type": "array", "items": reference(name) } });
    match answer {
        Answer::Json(name) => json!({ "application/json": { "schema": reference(name) } }),
        Answer::List(name) => json!({ "application/json": list(name) }),
        Answer::ListOrStream(name) => json!({
            "application/json": list(name),
            "text/event-stream": { "schema": { "type": "string" } },
        }),
    }
}

/// An object with these fields, each of which is there.
fn object(fields: Json) -> Json {
    let names: Vec<String> = fields.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "properties": fields, "required": names })
}

fn one_of<T>(all: &[T], text: impl Fn(&T) -> &'static str) -> Json {
    json!({ "type": "string", "enum": all.iter().map(text).collect::<Vec<_>>() })
}

fn schemas() -> Json {
    let text = || json!({ "type": "string" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let number = || json!({ "type": "integer", "minimum": 0 });
    let maybe = || json!({ "type": ["string", "null"] });
    let any = || json!({});
    let list = |item: Json| json!({ "type": "array", "items": item });
    let status = || one_of(RunStatus::ALL, |status| status.as_str());
    let run = json!({
        "run": { "type": "string", "format": "uuid" }, "name": text(), "kind": text(), "status": status(),
        "created": time(), "updated": time(), "attempt": number(),
    });
    let mut detail = run.clone();
    for (name, schema) in [
        ("output", any()),
        ("error", any()),
        ("entries", list(reference("Entry"))),
        ("logs", list(reference("LogLine"))),
    ] {
        detail[name] = schema;
    }
    json!({
        "Problem": object(json!({ "code": text(), "message": text(), "hint": maybe(), "notes": list(text()) })),
        "Run": object(run),
        "RunDetail": object(detail),
        "Entry": object(json!({
            "seq": number(), "position": text(), "primitive": text(), "operation": text(),
            "class": one_of(&EffectClass::ALL, |class| class.as_str()),
            "status": one_of(EntryStatus::ALL, |status| status.as_str()),
            "result": any(), "error": any(), "source": maybe(),
        })),
        "LogLine": object(json!({
            "seq": number(), "at": time(), "level": text(), "message": text(), "branch": text(), "source": maybe(),
        })),
        "Started": object(json!({ "run": { "type": "string", "format": "uuid" } })),
        "Verdict": object(json!({ "run": text(), "fits": { "type": "boolean" } })),
        "Event": object(json!({
            "id": number(), "name": text(), "payload": any(), "origin": text(), "at": time(),
        })),
        "Emitted": object(json!({ "name": text() })),
        "Service": object(json!({ "name": text() })),
        "Alerts": object(json!({
            "alerts": list(object(json!({
                "name": text(), "severity": text(), "group": text(), "state": text(), "every": maybe(),
                "note": maybe(), "instances": list(json!({ "type": "object" })),
            }))),
            "silences": list(reference("Silence")),
        })),
        "Silence": object(json!({
            "id": text(), "alert": text(), "labels": { "type": "object" }, "until": time(), "reason": text(),
        })),
        "AlertTest": { "type": "object" },
        "Backup": object(json!({
            "dataset": text(), "path": maybe(), "next": maybe(), "repositories": list(json!({ "type": "object" })),
        })),
        "Setup": object(json!({ "name": text(), "state": text(), "at": maybe(), "run": maybe(), "note": text() })),
        "Notices": object(json!({ "file": maybe(), "lines": list(text()) })),
        "Cleared": object(json!({ "cleared": number() })),
        "Updated": object(json!({
            "service": text(), "image": text(), "result": text(), "state": text(), "note": text(),
        })),
        "Status": { "type": "object" },
        "Graphics": { "type": ["object", "null"] },
        "Family": object(json!({
            "name": text(), "help": text(), "kind": text(),
            "samples": list(object(json!({ "labels": { "type": "object" }, "value": { "type": "number" } }))),
        })),
        "Plan": { "type": "object" },
        "Stopped": object(json!({ "stopped": list(text()) })),
        "Boot": object(json!({
            "began": time(), "took_ms": number(), "services": list(json!({ "type": "object" })), "blocked": any(),
            "critical_path": list(any()), "failures": list(any()),
        })),
        "Schedule": object(json!({
            "name": text(), "when": text(), "timezone": maybe(), "next": maybe(), "last": maybe(),
            "paused": { "type": "boolean" }, "paused_at": maybe(), "pause_reason": maybe(),
            "running": list(text()), "queued": number(), "skipped_in_row": number(), "jitter": maybe(),
        })),
        "Queued": object(json!({ "run": { "type": "string", "format": "uuid" }, "status": text() })),
        "Backfilled": object(json!({
            "schedule": text(), "slots": list(json!({ "type": "object" })), "claimed_before": number(),
            "dry": { "type": "boolean" },
        })),
    })
}
