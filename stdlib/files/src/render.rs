//! Templates in the language of Jinja2.

use std::io::{self, Read};
use std::path::{Component, Path};
use std::sync::Arc;

use hob_model::{OpError, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::port::FilesPort;
use crate::problem::fault;

/// The largest template.
const TEMPLATE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How many instructions a template may take: about a second, and an end for one that has none.
const FUEL: u64 = 5_000_000;

/// The largest text that a template may make.
const RENDERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the template in this file makes of the variables.
pub(crate) fn file(port: &Arc<dyn FilesPort>, path: &Path, variables: &Value) -> Result<String, OpError> {
    if !matches!(variables, Value::Map(_)) {
        return Err(OpError::invalid(format!("the variables are a map, got {}", variables.type_name())));
    }
    let json = variables
        .to_json()
        .map_err(|error| OpError::invalid(format!("a variable cannot be used in a template: {error}")))?;
    let source = read(&**port, path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => OpError::invalid(format!("{}: {error}", path.display())),
        _ => fault(&error, path),
    })?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_keep_trailing_newline(true);
    environment.set_fuel(Some(FUEL));
    let (port, directory) = (Arc::clone(port), path.parent().unwrap_or(Path::new("/")).to_path_buf());
    environment.set_loader(move |name| load(&*port, &directory, name));
    let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    environment.add_template_owned(shown.clone(), source).map_err(|error| refusal(&error, path))?;
    let template = environment.get_template(&shown).map_err(|error| refusal(&error, path))?;
    let mut out = Limited::default();
    let rendered = template.render_captured_to(json, &mut out).map(drop);
    if out.is_over {
        return Err(OpError::invalid(format!(
            "{} makes more than {RENDERED_BYTES_MAX} bytes",
            path.display()
        )));
    }
    rendered.map_err(|error| refusal(&error, path))?;
    String::from_utf8(out.bytes)
        .map_err(|_| OpError::invalid(format!("{} makes a text that is no UTF-8", path.display())))
}

fn read(port: &dyn FilesPort, path: &Path) -> io::Result<String> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    port.open(path)?.take(TEMPLATE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEMPLATE_BYTES_MAX {
        return Err(invalid(format!("a template has at most {TEMPLATE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid("a template is a text in UTF-8".to_owned()))
}

/// An included template: a path below the directory of the one that was asked for.
fn load(port: &dyn FilesPort, directory: &Path, name: &str) -> Result<Option<String>, Error> {
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{name}: only templates below {} can be included", directory.display()),
        ));
    }
    match read(port, &directory.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(ErrorKind::InvalidOperation, format!("{name}: {error}"))),
    }
}

fn refusal(error: &Error, path: &Path) -> OpError {
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("{}:{line}", path.with_file_name(name).display()),
        _ => path.display().to_string(),
    };
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let it = OpError::invalid(format!("{place}: {what}"));
    match error.kind() {
        ErrorKind::UndefinedError => it.hint("give the variable, or write {{ name | default(\"…\") }}"),
        ErrorKind::OutOfFuel => it.hint("it takes too many steps: does a loop ever end?"),
        _ => it,
    }
}

/// A text that stops growing.
#[derive(Default)]
struct Limited {
    bytes: Vec<u8>,
    is_over: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > RENDERED_BYTES_MAX {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
