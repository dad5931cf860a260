//! The protocol: open documents, requests and their answers.

use std::collections::BTreeMap;
use std::path::Path;

use hob_check::complete::{Alone, Kind as ItemKind, call_at, complete};
use hob_check::{Catalog, Request as CheckRequest, check, help};
use hob_engine::Loader;
use hob_engine::bundle::join;
use hob_model::{Diagnostic as Finding, Level};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, DidSaveTextDocument, Notification as _,
    PublishDiagnostics,
};
use lsp_types::request::{
    Completion, DocumentSymbolRequest, GotoDefinition, HoverRequest, Request as _, SignatureHelpRequest,
};
use lsp_types::{
    CodeDescription, CompletionItem, CompletionItemKind, CompletionOptions, CompletionParams,
    CompletionResponse, CompletionTextEdit, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity,
    DocumentSymbol, DocumentSymbolParams, DocumentSymbolResponse, Documentation, GotoDefinitionParams,
    GotoDefinitionResponse, Hover, HoverContents, HoverParams, HoverProviderCapability, Location,
    MarkupContent, MarkupKind, NumberOrString, OneOf, ParameterInformation, ParameterLabel,
    PublishDiagnosticsParams, Range, ServerCapabilities, SignatureHelp, SignatureHelpOptions,
    SignatureHelpParams, SignatureInformation, SymbolKind, TextDocumentPositionParams,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextEdit, Uri,
};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::outline::{self, Definition, Kind, definition, symbols};
use crate::place::{offset, path_of, position, range, uri_of};

/// The largest document that is looked at, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = hob_engine::bundle::SOURCE_BYTES_MAX;
/// The most documents that are open at one time.
pub const DOCUMENTS_MAX: usize = 1_000;

/// Reads the files that open documents import.
pub trait Files {
    /// The bytes of the file at an absolute path.
    ///
    /// # Errors
    /// What the system said.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}

struct Server<'a> {
    connection: &'a Connection,
    catalog: &'a Catalog,
    files: &'a dyn Files,
    /// The open documents by path, with their addresses.
    open: BTreeMap<String, (Uri, String)>,
}

/// What the server can do.
#[must_use]
pub fn capabilities() -> ServerCapabilities {
    let after = |characters: &[&str]| Some(characters.iter().map(|it| (*it).to_owned()).collect());
    ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::FULL)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: after(&[":", ".", "\"", "{", "("]),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        signature_help_provider: Some(SignatureHelpOptions {
            trigger_characters: after(&["(", ","]),
            ..SignatureHelpOptions::default()
        }),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    }
}

/// Serves one client until it says that it leaves, or the connection ends.
///
/// The calling thread needs a stack of [`hob_engine::SCRIPT_STACK_BYTES`].
///
/// # Errors
/// When the client does not keep to the protocol, or goes away without a word.
pub fn serve(
    connection: &Connection,
    catalog: &Catalog,
    files: &dyn Files,
    version: &str,
) -> Result<(), String> {
    let (id, _) = connection.initialize_start().map_err(|error| error.to_string())?;
    let answer = json!({
        "capabilities": capabilities(),
        "serverInfo": { "name": "hob", "version": version },
    });
    connection.initialize_finish(id, answer).map_err(|error| error.to_string())?;
    let mut server = Server { connection, catalog, files, open: BTreeMap::new() };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request).map_err(|error| error.to_string())? {
                    return Ok(());
                }
                let response = server.answer(request);
                server.send(Message::Response(response))?;
            }
            Message::Notification(notification) => server.hear(notification)?,
            Message::Response(_) => {}
        }
    }
    Err("the client went away without saying so".to_owned())
}

fn read<T: DeserializeOwned>(params: Json) -> Result<T, String> {
    serde_json::from_value(params).map_err(|error| error.to_string())
}

impl Server<'_> {
    fn send(&self, message: Message) -> Result<(), String> {
        self.connection.sender.send(message).map_err(|_| "the client went away".to_owned())
    }

    fn answer(&self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let result = match method.as_str() {
            Completion::METHOD => read(params).map(|params| json!(self.completion(&params))),
            HoverRequest::METHOD => read(params).map(|params| json!(self.hover(&params))),
            SignatureHelpRequest::METHOD => read(params).map(|params| json!(self.signature(&params))),
            GotoDefinition::METHOD => read(params).map(|params| json!(self.definition(&params))),
            DocumentSymbolRequest::METHOD => read(params).map(|params| json!(self.symbols(&params))),
            other => {
                let text = format!("`{other}` is not offered");
                return Response::new_err(id, ErrorCode::MethodNotFound as i32, text);
            }
        };
        match result {
            Ok(result) => Response::new_ok(id, result),
            Err(problem) => Response::new_err(id, ErrorCode::InvalidParams as i32, problem),
        }
    }

    /// Takes in what happened to documents. What is malformed is passed over: there is nobody to answer.
    fn hear(&mut self, notification: Notification) -> Result<(), String> {
        let Notification { method, params } = notification;
        match method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Ok(it) = read::<lsp_types::DidOpenTextDocumentParams>(params) {
                    return self.changed(it.text_document.uri, it.text_document.text);
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Ok(mut it) = read::<lsp_types::DidChangeTextDocumentParams>(params)
                    && let Some(change) = it.content_changes.pop()
                {
                    return self.changed(it.text_document.uri, change.text);
                }
            }
            DidSaveTextDocument::METHOD => {
                // Others may import what was saved.
                let open: Vec<String> = self.open.keys().cloned().collect();
                return open.iter().try_for_each(|path| self.publish(path));
            }
            DidCloseTextDocument::METHOD => {
                if let Ok(it) = read::<lsp_types::DidCloseTextDocumentParams>(params) {
                    if let Some(path) = path_of(&it.text_document.uri) {
                        self.open.remove(&path);
                    }
                    return self.tell(it.text_document.uri, vec![]);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn changed(&mut self, uri: Uri, text: String) -> Result<(), String> {
        let Some(path) = path_of(&uri) else { return Ok(()) };
        let is_new = !self.open.contains_key(&path);
        if text.len() > DOCUMENT_BYTES_MAX || is_new && self.open.len() >= DOCUMENTS_MAX {
            return Ok(());
        }
        self.open.insert(path.clone(), (uri, text));
        self.publish(&path)
    }

    fn publish(&self, path: &str) -> Result<(), String> {
        let Some((uri, text)) = self.open.get(path) else { return Ok(()) };
        let (directory, name) = split(path);
        let loader = Overlay { server: self, directory };
        let request = CheckRequest {
            root: name,
            loader: &loader,
            cwd: Path::new(directory),
            given: &[],
            functions: &[],
        };
        let checked = check(self.catalog, &request);
        let mine = checked
            .findings
            .iter()
            .filter(|finding| finding.spans.first().is_none_or(|span| &*span.source.file == name));
        self.tell(uri.clone(), mine.map(|finding| self.diagnostic(finding, directory, text)).collect())
    }

    fn tell(&self, uri: Uri, diagnostics: Vec<Diagnostic>) -> Result<(), String> {
        let params = PublishDiagnosticsParams { uri, diagnostics, version: None };
        self.send(Message::Notification(Notification::new(PublishDiagnostics::METHOD.to_owned(), params)))
    }

    fn diagnostic(&self, finding: &Finding, directory: &str, text: &str) -> Diagnostic {
        let at = |span: &hob_model::Span| range(text, span.source.line, span.source.column, span.len);
        let related = finding.spans.iter().skip(1).filter_map(|span| {
            let path = join_path(directory, &span.source.file);
            let text = self.text(&path)?;
            let range = range(&text, span.source.line, span.source.column, span.len);
            let location = Location { uri: uri_of(&path)?, range };
            Some(DiagnosticRelatedInformation { location, message: span.label.clone() })
        });
        let mut message = finding.message.clone();
        for more in finding.notes.iter().chain(&finding.hint) {
            message.push('\n');
            message.push_str(more);
        }
        let related: Vec<_> = related.collect();
        Diagnostic {
            range: finding.spans.first().map_or_else(Range::default, at),
            severity: Some(match finding.level {
                Level::Error => DiagnosticSeverity::ERROR,
                Level::Warning => DiagnosticSeverity::WARNING,
                Level::Note => DiagnosticSeverity::INFORMATION,
            }),
            code: Some(NumberOrString::String(finding.code.as_str().to_owned())),
            code_description: None::<CodeDescription>,
            source: Some("hob".to_owned()),
            message,
            related_information: (!related.is_empty()).then_some(related),
            ..Diagnostic::default()
        }
    }

    /// The text of an open document, or of a file.
    fn text(&self, path: &str) -> Option<String> {
        match self.open.get(path) {
            Some((_, text)) => Some(text.clone()),
            None => String::from_utf8(self.files.read(path).ok()?).ok(),
        }
    }

    /// The open document that a request is about, and the byte of it.
    fn at(&self, at: &TextDocumentPositionParams) -> Option<(String, &str, usize)> {
        let path = path_of(&at.text_document.uri)?;
        let (_, text) = self.open.get(&path)?;
        let byte = offset(text, at.position);
        Some((path, text, byte))
    }

    fn completion(&self, params: &CompletionParams) -> Option<CompletionResponse> {
        let (_, text, at) = self.at(&params.text_document_position)?;
        let found = complete(self.catalog, text, at, &Alone);
        let range = Range { start: position(text, found.start), end: position(text, at) };
        let items = found.items.into_iter().enumerate().map(|(rank, item)| CompletionItem {
            label: item.text.clone(),
            kind: Some(match item.kind {
                ItemKind::Variable => CompletionItemKind::VARIABLE,
                ItemKind::Module => CompletionItemKind::MODULE,
                ItemKind::Operation | ItemKind::Function => CompletionItemKind::FUNCTION,
                ItemKind::Option => CompletionItemKind::FIELD,
                ItemKind::Value | ItemKind::Live => CompletionItemKind::VALUE,
                ItemKind::Word => CompletionItemKind::KEYWORD,
            }),
            detail: (!item.detail.is_empty()).then_some(item.detail),
            documentation: (!item.doc.is_empty()).then(|| Documentation::MarkupContent(markdown(item.doc))),
            sort_text: Some(format!("{rank:04}")),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: item.text })),
            ..CompletionItem::default()
        });
        Some(CompletionResponse::Array(items.collect()))
    }

    fn hover(&self, params: &HoverParams) -> Option<Hover> {
        let (_, text, at) = self.at(&params.text_document_position_params)?;
        let (start, end) = word_at(text, at)?;
        let word = &text[start..end];
        let page = help::page(self.catalog, word).map(as_markdown).or_else(|| {
            let call = call_at(text, start)?;
            let option = self.catalog.options(&call.path).into_iter().find(|option| option.key == word)?;
            Some(format!("`{}: {}` of `{}`\n\n{}", option.key, option.kind, call.path, option.doc))
        })?;
        let range = Range { start: position(text, start), end: position(text, end) };
        Some(Hover { contents: HoverContents::Markup(markdown(page)), range: Some(range) })
    }

    fn signature(&self, params: &SignatureHelpParams) -> Option<SignatureHelp> {
        let (_, text, at) = self.at(&params.text_document_position_params)?;
        let call = call_at(text, at)?;
        let active = u32::try_from(call.argument).ok();
        let signatures = match self.catalog.operation(&call.path) {
            Some(operation) => vec![(operation.signature(), operation.summary().to_owned())],
            None => {
                let function = self.catalog.function(&call.path)?;
                function.signatures.iter().map(|form| (form.clone(), function.doc.clone())).collect()
            }
        };
        let signatures = signatures.into_iter().map(|(label, doc)| SignatureInformation {
            parameters: Some(parameters(&label)),
            label,
            documentation: (!doc.is_empty()).then(|| Documentation::MarkupContent(markdown(doc))),
            active_parameter: active,
        });
        let signatures: Vec<_> = signatures.collect();
        Some(SignatureHelp { signatures, active_signature: Some(0), active_parameter: active })
    }

    fn definition(&self, params: &GotoDefinitionParams) -> Option<GotoDefinitionResponse> {
        let at = &params.text_document_position_params;
        let (path, text, byte) = self.at(at)?;
        let (directory, name) = split(&path);
        let line_start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
        let line = at.position.line as usize + 1;
        let column = text[line_start..byte].chars().count() + 1;
        let engine = self.catalog.engine();
        let (path, symbol) = match definition(engine, name, text, line, column)? {
            Definition::Here(symbol) => (path.clone(), Some(symbol)),
            Definition::File(file) => (join_path(directory, &file), None),
            Definition::In { file, name } => {
                let path = join_path(directory, &file);
                let functions = symbols(engine, &self.text(&path)?);
                let found = functions.into_iter().find(|it| it.kind == Kind::Function && it.name == name)?;
                (path, Some(found))
            }
        };
        let text = self.text(&path)?;
        let range = symbol.map_or_else(Range::default, |it| range(&text, it.line, it.column, it.length));
        Some(GotoDefinitionResponse::Scalar(Location { uri: uri_of(&path)?, range }))
    }

    fn symbols(&self, params: &DocumentSymbolParams) -> Option<DocumentSymbolResponse> {
        let (_, text) = self.open.get(&path_of(&params.text_document.uri)?)?;
        let all = symbols(self.catalog.engine(), text).into_iter().map(|it| document_symbol(it, text));
        Some(DocumentSymbolResponse::Nested(all.collect()))
    }
}

#[allow(deprecated)] // the protocol's own field has no other way to be left out
fn document_symbol(it: outline::Symbol, text: &str) -> DocumentSymbol {
    let range = range(text, it.line, it.column, it.length);
    DocumentSymbol {
        name: it.name,
        detail: (!it.detail.is_empty()).then_some(it.detail),
        kind: match it.kind {
            Kind::Function => SymbolKind::FUNCTION,
            Kind::Variable => SymbolKind::VARIABLE,
            Kind::Constant => SymbolKind::CONSTANT,
            Kind::Module => SymbolKind::MODULE,
            Kind::Declaration => SymbolKind::OBJECT,
        },
        tags: None,
        deprecated: None,
        range,
        selection_range: range,
        children: None,
    }
}

/// The files of a check: open documents as they are in the editor, others from disk.
struct Overlay<'a> {
    server: &'a Server<'a>,
    directory: &'a str,
}

impl Loader for Overlay<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let path = join_path(self.directory, path);
        match self.server.open.get(&path) {
            Some((_, text)) => Ok(text.clone().into_bytes()),
            None => self.server.files.read(&path),
        }
    }
}

/// The directory and the name of a file.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join_path(directory: &str, file: &str) -> String {
    format!("/{}", join(&format!("{}/", directory.trim_start_matches('/')), file))
}

fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}

/// A page whose first line is a signature, with that as code.
fn as_markdown(page: String) -> String {
    if page.starts_with('#') {
        return page;
    }
    let (signature, rest) = page.split_once("\n\n").unwrap_or((&page, ""));
    format!("```rhai\n{signature}\n```\n\n{rest}").replace("```rhai,no_run", "```rhai")
}

/// The path that stands at a byte: `files::write`, up to the end of the word that the byte is in.
fn word_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let end = at + text[at..].find(|c| !is_word(c)).unwrap_or(text.len() - at);
    let mut start =
        end - text[..end].chars().rev().take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
    while text[..start].ends_with("::") {
        let before = start - 2;
        let len: usize = text[..before].chars().rev().take_while(|c| is_word(*c)).map(char::len_utf8).sum();
        if len == 0 {
            break;
        }
        start = before - len;
    }
    (start < end).then_some((start, end))
}

/// The parameters of a signature, as the protocol marks them.
fn parameters(signature: &str) -> Vec<ParameterInformation> {
    let inside = signature.split_once('(').map_or("", |(_, rest)| rest);
    let inside = inside.rsplit_once(')').map_or(inside, |(inside, _)| inside);
    let names = inside.split(", ").filter(|name| !name.is_empty());
    names
        .map(|name| ParameterInformation {
            label: ParameterLabel::Simple(name.to_owned()),
            documentation: None,
        })
        .collect()
}
