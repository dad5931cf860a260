//! Findings for programs: as JSON, and as SARIF for code hosts and editors.

use std::collections::BTreeSet;

use hob_model::{Code, Diagnostic, Level, Span};
use serde_json::{Value as Json, json};

use crate::reach::Reach;

/// The findings as JSON: `code`, `level`, `message`, `spans` (lines and columns from 1, in characters), `notes`, `hint`.
#[must_use]
pub fn findings_json(findings: &[Diagnostic]) -> Json {
    findings.iter().map(finding_json).collect()
}

/// One finding as JSON.
#[must_use]
pub fn finding_json(finding: &Diagnostic) -> Json {
    let span = |span: &Span| {
        json!({
            "file": &*span.source.file,
            "line": span.source.line,
            "column": span.source.column,
            "length": span.len,
            "label": span.label,
        })
    };
    json!({
        "code": finding.code.as_str(),
        "level": finding.level.to_string(),
        "message": finding.message,
        "spans": finding.spans.iter().map(span).collect::<Vec<_>>(),
        "notes": finding.notes,
        "hint": finding.hint,
    })
}

/// What a script can come to, as JSON.
#[must_use]
pub fn reach_json(reach: &Reach) -> Json {
    let effects = reach.effects.iter().map(|(name, effect)| {
        json!({
            "operation": name,
            "class": effect.class.to_string(),
            "permissions": effect.needs,
            "places": effect.places.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    json!({
        "effects": effects.collect::<Vec<_>>(),
        "permissions": reach.permissions(),
        "secrets": reach.secrets,
    })
}

/// The findings in the Static Analysis Results Interchange Format, version 2.1.0 (OASIS).
#[must_use]
pub fn sarif(findings: &[Diagnostic], version: &str) -> Json {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let rules: Vec<Json> = codes
        .iter()
        .map(|code| {
            json!({
                "id": code.as_str(),
                "shortDescription": { "text": code.title() },
                "help": { "text": code.page(), "markdown": code.page() },
            })
        })
        .collect();
    let results: Vec<Json> = findings.iter().map(sarif_result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "hob", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(finding: &Diagnostic) -> Json {
    let level = match finding.level {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let mut text = finding.message.clone();
    for more in finding.notes.iter().chain(&finding.hint) {
        text.push('\n');
        text.push_str(more);
    }
    let locations: Vec<Json> = finding.spans.iter().take(1).map(location).collect();
    let related: Vec<Json> = finding.spans.iter().skip(1).map(location).collect();
    json!({
        "ruleId": finding.code.as_str(),
        "level": level,
        "message": { "text": text },
        "locations": locations,
        "relatedLocations": related,
    })
}

fn location(span: &Span) -> Json {
    let line = span.source.line.max(1);
    let column = span.source.column.max(1);
    json!({
        "physicalLocation": {
            "artifactLocation": { "uri": &*span.source.file },
            "region": { "startLine": line, "startColumn": column, "endColumn": column + span.len },
        },
    })
}
