//! Bundles: the immutable sources that runs are pinned to, and what is made of them once per process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use hob_journal::{BundleRecord, Journal, Write};
use hob_model::{Code, Diagnostic, Digest, Source};
use hob_primitive::Registry;
use rhai::{AST, ASTNode, Engine, Expr, Scope, Shared, Stmt};

use crate::declare::Declarations;
use crate::program::Program;
use crate::run_cx::lock;
use crate::{dataset, flow, include};

/// The largest source or included file, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most files of one bundle.
pub const BUNDLE_FILES_MAX: usize = 2_000;

/// The settings beside the root: part of the bundle though no script names them.
pub const SETTINGS_FILE: &str = "hob.toml";

/// Reads sources. The engine does no I/O itself.
pub trait Loader {
    /// The bytes of the file at `path`, relative to the directory that the bundle is made of.
    ///
    /// # Errors
    /// What the system said, as text.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Whether there is a file at `path`. Asked for [`SETTINGS_FILE`], which may be absent.
    fn has(&self, _path: &str) -> bool {
        false
    }
}

/// An immutable set of sources.
pub struct Bundle {
    /// What the journal keeps of it.
    pub record: BundleRecord,
    files: BTreeMap<String, Arc<str>>,
    programs: Mutex<HashMap<String, Arc<AST>>>,
    pub(crate) modules: Mutex<HashMap<String, Shared<rhai::Module>>>,
    pub(crate) declared: OnceLock<Result<Arc<Declarations>, Diagnostic>>,
}

/// `path` as it stands in the file `from`: relative to that file's directory, without `.` and inner `..`.
#[must_use]
pub fn join(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = match from.rfind('/') {
        Some(at) if !path.starts_with('/') => from[..at].split('/').collect(),
        _ => Vec::new(),
    };
    for part in path.trim_start_matches('/').split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// What the paths of hob's own modules begin with: `import "hob:alerts"`.
pub const OWN: &str = "hob:";
/// hob's own modules. They become part of the bundle, so that runs stay pinned to what they began with.
const OWN_MODULES: [(&str, &str); 3] = [
    ("hob:alerts.rhai", include_str!("modules/alerts.rhai")),
    ("hob:ollama.rhai", include_str!("modules/ollama.rhai")),
    ("hob:storage.rhai", include_str!("modules/storage.rhai")),
];

/// hob's own scripts that declarations are done by, each with the words that a homelab has somewhere which comes to it.
const OWN_PROGRAMS: [(&[&str], &Program); 3] = [
    (&["dataset", dataset::BACKUP], &dataset::PROGRAM),
    (&["service", dataset::BACKUP], &dataset::PROGRAM),
    (&["flow"], &flow::PROGRAM),
];

/// Whether a file of a bundle is one of these: nobody wrote it.
#[must_use]
pub fn is_own_program(path: &str) -> bool {
    OWN_PROGRAMS.iter().any(|(_, program)| program.name == path)
}

/// Whether a text has a word that stands for itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

/// Adds those of hob's own scripts that the others may come to.
fn add_own_programs(files: &mut BTreeMap<String, Arc<str>>) {
    let has = |word: &&str| files.iter().any(|(path, text)| path.ends_with(".rhai") && has_word(text, word));
    let wanted: Vec<_> = OWN_PROGRAMS.iter().filter(|(words, _)| words.iter().all(has)).collect();
    files.extend(wanted.into_iter().map(|(_, program)| (program.name.to_owned(), Arc::from(program.text))));
}

/// The file of a module: `import "services/media"` means `services/media.rhai`.
#[must_use]
pub fn module_file(from: &str, path: &str) -> String {
    if path.starts_with(OWN) {
        return format!("{path}.rhai");
    }
    let joined = join(from, path);
    if joined.ends_with(".rhai") { joined } else { format!("{joined}.rhai") }
}

impl Bundle {
    /// Collects `root` and everything it imports or includes.
    ///
    /// # Errors
    /// All problems: files that are missing or do not parse, imports whose path is not a plain text.
    pub fn collect(
        root: &str,
        origin: &str,
        host: &str,
        loader: &dyn Loader,
        registry: &Registry,
    ) -> Result<Self, Vec<Diagnostic>> {
        let engine = crate::evaluate::parsing_engine(registry);
        let mut files = BTreeMap::new();
        let mut problems = Vec::new();
        let mut includes = BTreeSet::new();
        let mut queue = vec![(root.to_owned(), None::<Source>)];
        if loader.has(SETTINGS_FILE) {
            queue.push((SETTINGS_FILE.to_owned(), None));
        }
        while let Some((path, wanted_by)) = queue.pop() {
            if files.contains_key(&path) {
                continue;
            }
            let text = match read(loader, &path) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push(missing(&path, &problem, wanted_by));
                    continue;
                }
            };
            if path.ends_with(".rhai") {
                match parse(&engine, &path, &text) {
                    Ok(ast) => references(&ast, &path, &mut queue, &mut includes, &mut problems),
                    Err(problem) => problems.push(problem),
                }
            }
            files.insert(path, Arc::<str>::from(text));
            if files.len() > BUNDLE_FILES_MAX {
                let text = format!("more than {BUNDLE_FILES_MAX} files are imported");
                return Err(vec![Diagnostic::error(Code::LimitReached, text)]);
            }
        }
        let data = includes.iter().filter_map(|(function, path)| Some((function, path, files.get(path)?)));
        problems.extend(data.filter_map(|(function, path, text): (&String, &String, &Arc<str>)| {
            include::check(function, path, text, registry).err()
        }));
        add_own_programs(&mut files);
        if problems.is_empty() { Ok(Self::of(files, root, origin, host)) } else { Err(problems) }
    }

    /// The bundle of one text that stands in no file: `hob eval`, standard input.
    #[must_use]
    pub fn of_text(name: &str, text: &str, origin: &str, host: &str) -> Self {
        Self::of(BTreeMap::from([(name.to_owned(), Arc::from(text))]), name, origin, host)
    }

    fn of(files: BTreeMap<String, Arc<str>>, root: &str, origin: &str, host: &str) -> Self {
        let listed: Vec<(String, Digest)> =
            files.iter().map(|(path, text)| (path.clone(), Digest::of(text.as_bytes()))).collect();
        let record = BundleRecord::new(listed, root.to_owned(), origin.to_owned(), host.to_owned());
        Self::with(record, files)
    }

    fn with(record: BundleRecord, files: BTreeMap<String, Arc<str>>) -> Self {
        Self {
            record,
            files,
            programs: Mutex::default(),
            modules: Mutex::default(),
            declared: OnceLock::new(),
        }
    }

    /// Reads a bundle back from the journal.
    ///
    /// # Errors
    /// When it, or one of its sources, is missing or damaged.
    pub fn load(journal: &dyn Journal, digest: Digest) -> Result<Self, String> {
        let missing =
            |what: &str| format!("the journal is damaged: {what} of bundle {} is missing", digest.short());
        let record =
            journal.bundle(digest).map_err(|e| e.to_string())?.ok_or_else(|| missing("the record"))?;
        let mut files = BTreeMap::new();
        for (path, file) in &record.files {
            let bytes = journal.blob(*file).map_err(|e| e.to_string())?.ok_or_else(|| missing(path))?;
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| missing(path))?;
            files.insert(path.clone(), Arc::from(text));
        }
        Ok(Self::with(record, files))
    }

    /// What stores it in the journal.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        let blob = |text: &Arc<str>| {
            Write::Blob(Digest::of(text.as_bytes()), Bytes::copy_from_slice(text.as_bytes()))
        };
        self.files.values().map(blob).chain([Write::Bundle(self.record.clone())]).collect()
    }

    /// Its content address.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.record.digest
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        self.files.get(path).cloned()
    }

    /// Its files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text))
    }

    /// The compiled form of a file, where the variables named in `variables` exist.
    ///
    /// # Errors
    /// When the file is not part of the bundle or does not parse.
    pub(crate) fn program(
        &self,
        engine: &Engine,
        path: &str,
        variables: &[&'static str],
    ) -> Result<Arc<AST>, Diagnostic> {
        if let Some(program) = lock(&self.programs).get(path) {
            return Ok(Arc::clone(program));
        }
        let text = self.text(path).ok_or_else(|| missing(path, "it is not part of the bundle", None))?;
        let mut scope = Scope::new();
        for variable in variables {
            scope.push(*variable, ());
        }
        let compiled = engine.compile_with_scope(&scope, &*text);
        let mut ast = compiled.map_err(|error| crate::diagnose::parse_error(&error, path, &text, engine))?;
        ast.set_source(path);
        let ast = Arc::new(ast);
        lock(&self.programs).insert(path.to_owned(), Arc::clone(&ast));
        Ok(ast)
    }
}

/// The text of the file at `path`: one of `loader`, or a module of hob's own.
///
/// # Errors
/// Why it cannot be read, as text.
pub fn read(loader: &dyn Loader, path: &str) -> Result<String, String> {
    if path.starts_with(OWN) {
        let own = OWN_MODULES.iter().find(|(known, _)| *known == path);
        let names = || OWN_MODULES.map(|(name, _)| name.trim_end_matches(".rhai")).join(", ");
        return own.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("hob has {}", names()));
    }
    let bytes = loader.read(path)?;
    if bytes.len() > SOURCE_BYTES_MAX {
        return Err(format!("it has {} bytes; at most {SOURCE_BYTES_MAX} are read", bytes.len()));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
}

fn missing(path: &str, why: &str, wanted_by: Option<Source>) -> Diagnostic {
    match wanted_by {
        Some(source) => {
            let (done, hint) = if path.ends_with(".rhai") {
                ("imported", "paths are relative to the file that imports them; `.rhai` is added")
            } else {
                ("included", "paths are relative to the file that includes them")
            };
            let problem = Diagnostic::error(Code::MissingModule, format!("`{path}` cannot be {done}: {why}"));
            problem.at(source).hint(hint)
        }
        None => Diagnostic::error(Code::UnreadableScript, format!("`{path}` cannot be read: {why}")),
    }
}

fn parse(engine: &Engine, path: &str, text: &str) -> Result<AST, Diagnostic> {
    let mut scope = Scope::new();
    scope.push("input", ());
    engine
        .compile_with_scope(&scope, text)
        .map_err(|error| crate::diagnose::parse_error(&error, path, text, engine))
}

/// Queues what a script imports and includes; of the latter also by which function.
fn references(
    ast: &AST,
    path: &str,
    queue: &mut Vec<(String, Option<Source>)>,
    includes: &mut BTreeSet<(String, String)>,
    problems: &mut Vec<Diagnostic>,
) {
    ast.walk(&mut |nodes| {
        let source = |position: rhai::Position| Source {
            file: path.into(),
            line: position.line().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            column: position.position().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        };
        match nodes.last() {
            Some(ASTNode::Stmt(Stmt::Import(import, position))) => match &import.0 {
                Expr::StringConstant(text, at) => queue.push((module_file(path, text), Some(source(*at)))),
                _ => problems.push(
                    Diagnostic::error(Code::MissingModule, "the path of an import is not a plain text")
                        .at(source(*position))
                        .hint("write the path itself, so that a run can be pinned to its sources"),
                ),
            },
            Some(ASTNode::Expr(Expr::FnCall(call, _))) if call.name.as_str().starts_with(include::PREFIX) => {
                if let Some(Expr::StringConstant(text, at)) = call.args.first() {
                    let file = join(path, text);
                    includes.insert((call.name.to_string(), file.clone()));
                    queue.push((file, Some(source(*at))));
                }
            }
            _ => {}
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{add_own_programs, is_own_program, join};

    #[test]
    fn a_bundle_has_the_scripts_of_hob_that_it_comes_to() {
        for (file, text, own) in [
            ("homelab.rhai", "service(\"db\", #{ backup: weekly })", Some("hob:dataset.rhai")),
            (
                "homelab.rhai",
                "dataset(\"photos\", #{ path: \"x\", \"backup\": weekly })",
                Some("hob:dataset.rhai"),
            ),
            ("homelab.rhai", "service(\"db\", #{ labels: #{ backups: \"no\" } })", None),
            ("play.rhai", "backup::snapshot(\"nas\", [\"services\"])", None),
            ("homelab.rhai", "flow(\"media\", #{}).node(\"a\", |it| it)", Some("hob:flow.rhai")),
            ("homelab.rhai", "workflow(\"media\", |it| it)", None),
            ("notes.txt", "service backup flow", None),
        ] {
            let mut files = BTreeMap::from([(file.to_owned(), text.into())]);
            add_own_programs(&mut files);
            let found: Vec<&str> = files.keys().map(String::as_str).filter(|it| is_own_program(it)).collect();
            assert_eq!(found, Vec::from_iter(own), "{text}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_importing_file() {
        for (from, path, joined) in [
            ("homelab.rhai", "services/media", "services/media"),
            ("services/media.rhai", "util", "services/util"),
            ("services/media.rhai", "../lib/x", "lib/x"),
            ("a.rhai", "../x", "../x"),
            ("", "./x", "x"),
        ] {
            assert_eq!(join(from, path), joined, "{from} {path}");
        }
    }
}
