//! Checking a script with all that it imports.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hob_engine::Loader;
use hob_engine::bundle::{BUNDLE_FILES_MAX, module_file};
use hob_engine::diagnose::{Tokens, parse_error};
use hob_model::{Code, Diagnostic, Source};
use rhai::{ASTNode, Expr, Stmt};

use crate::catalog::Catalog;
use crate::parsed::Parsed;
use crate::reach::{Graph, Reach};
use crate::walk::Walk;
use crate::{allow, calls};

/// The most findings of one check; what is beyond is left out.
pub const FINDINGS_MAX: usize = 1_000;

/// What is to be checked.
pub struct Request<'a> {
    /// The file that is run or served, relative to what `loader` reads.
    pub root: &'a str,
    /// Reads the files.
    pub loader: &'a dyn Loader,
    /// Where relative paths in permissions start.
    pub cwd: &'a Path,
    /// Names of variables that the script is given, beside `input`.
    pub given: &'a [String],
    /// Names of functions that the script is given.
    pub functions: &'a [String],
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What is wrong or doubtful, by place.
    pub findings: Vec<Diagnostic>,
    /// The effects, permissions and secrets that the script can come to.
    pub reach: Reach,
    /// The files that were read, with their texts.
    pub files: BTreeMap<String, Arc<str>>,
}

/// Checks a script with all that it imports.
///
/// The calling thread needs a stack of [`hob_engine::SCRIPT_STACK_BYTES`].
#[must_use]
pub fn check(catalog: &Catalog, request: &Request<'_>) -> Checked {
    let mut findings = Vec::new();
    let (parsed, files) = read(catalog, request, &mut findings);
    let mut graph = Graph::default();
    for file in parsed.values() {
        let tokens = Tokens::of(catalog.engine(), &file.text);
        let mut walk = Walk::new(catalog, request, &parsed, file, &tokens, &mut graph);
        walk.file();
        findings.append(&mut walk.findings);
    }
    findings.extend(graph.retried.iter().filter_map(|(key, span)| {
        let once = graph.once(key)?;
        Some(
            calls::repeated(once.operation.name, span.clone())
                .note(format!("it is called at {}", once.source)),
        )
    }));
    for (file, text) in files.iter().filter(|(file, _)| file.ends_with(".rhai")) {
        allow::apply(file, text, &mut findings);
    }
    findings.sort_by_key(place);
    findings.dedup();
    findings.truncate(FINDINGS_MAX);
    Checked { findings, reach: graph.reach(request.root), files }
}

fn place(finding: &Diagnostic) -> (String, u32, u32, Code) {
    let source = finding.spans.first().map(|span| span.source.clone()).unwrap_or_default();
    (source.file.to_string(), source.line, source.column, finding.code)
}

/// Parses the root and everything it imports.
fn read(
    catalog: &Catalog,
    request: &Request<'_>,
    findings: &mut Vec<Diagnostic>,
) -> (BTreeMap<String, Parsed>, BTreeMap<String, Arc<str>>) {
    let (mut parsed, mut files) = (BTreeMap::new(), BTreeMap::<String, Arc<str>>::new());
    let mut queue = vec![(request.root.to_owned(), None::<Source>)];
    while let Some((path, wanted_by)) = queue.pop() {
        if files.contains_key(&path) {
            continue;
        }
        if files.len() >= BUNDLE_FILES_MAX {
            let text = format!("more than {BUNDLE_FILES_MAX} files are imported");
            findings.push(Diagnostic::error(Code::LimitReached, text));
            break;
        }
        let text: Arc<str> = match hob_engine::bundle::read(request.loader, &path) {
            Ok(text) => text.into(),
            Err(problem) => {
                findings.push(missing(&path, &problem, wanted_by));
                continue;
            }
        };
        files.insert(path.clone(), Arc::clone(&text));
        match catalog.engine().compile(&*text) {
            Ok(ast) => {
                let mut file = Parsed::new(&path, text, ast);
                file.imports = imports(&file, findings, &mut queue);
                parsed.insert(path, file);
            }
            Err(error) => findings.push(parse_error(&error, &path, &text, catalog.engine())),
        }
    }
    (parsed, files)
}

fn missing(path: &str, why: &str, wanted_by: Option<Source>) -> Diagnostic {
    match wanted_by {
        Some(source) => Diagnostic::error(Code::MissingModule, format!("`{path}` cannot be imported: {why}"))
            .at(source)
            .hint("paths are relative to the file that imports them; `.rhai` is added"),
        None => Diagnostic::error(Code::UnreadableScript, format!("`{path}` cannot be read: {why}")),
    }
}

/// The names and files of what a file imports; these are queued.
fn imports(
    file: &Parsed,
    findings: &mut Vec<Diagnostic>,
    queue: &mut Vec<(String, Option<Source>)>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    file.ast.walk(&mut |path: &[ASTNode<'_>]| {
        let Some(ASTNode::Stmt(Stmt::Import(import, at))) = path.last() else { return true };
        match &import.0 {
            Expr::StringConstant(text, at) => {
                let module = module_file(&file.path, text);
                queue.push((module.clone(), Some(file.source(*at))));
                found.push((import.1.name.to_string(), module));
            }
            _ => findings.push(
                Diagnostic::error(Code::MissingModule, "the path of an import is not a plain text")
                    .at(file.source(*at))
                    .hint("write the path itself, so that a run can be pinned to its sources"),
            ),
        }
        true
    });
    found
}
