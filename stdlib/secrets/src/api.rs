//! The operations of `secrets`.

use hob_primitive::primitive;

pub use operations::primitive;

/// Secrets: by name in scripts, encrypted at rest, open only where they are used.
///
/// A secret in a script is a handle: it is put into texts with `+` and `${…}`, and handed to operations that take secrets:
/// headers and bodies of `http`, `env` and `stdin` of `process`, the environment of containers, the content of files. No
/// script sees its value, and no record, plan or log holds it.
#[primitive(name = "secrets")]
mod operations {
    use std::collections::BTreeMap;

    use hob_model::secret::is_name;
    use hob_model::{OpError, Secret, SecretForm, SecretPart, SecretRef, Value};
    use hob_primitive::{Args, Choice, Ctx, Mode, Options, PathText, Probe, SecretContent, SecretText};
    use subtle::ConstantTimeEq;

    use crate::rotate::by_run::{self, NewValue};
    use crate::vault::{LiveVault, part};
    use crate::{Kind, agenix, live};

    /// What others than its owner may not do with a file that holds a secret.
    const OTHERS_BITS: u32 = 0o077;
    /// The permission bits of such a file unless the call says otherwise.
    const FILE_MODE: u32 = 0o400;
    /// How many letters and digits a new value has unless the call says otherwise.
    const LENGTH_CHARS: u64 = 32;
    /// The most placeholders that one text may have.
    const PLACEHOLDERS_MAX: usize = 1_000;

    fn named(name: &str) -> Result<(), OpError> {
        match is_name(name) {
            true => Ok(()),
            false => Err(OpError::invalid(format!("`{}` is no name of a secret", name.escape_debug()))
                .hint("names are parts of letters, digits, `-`, `_` and `.`, with `/` between them")),
        }
    }

    /// Gives the secret of this name, in the version that is current now.
    ///
    /// The handle holds the name and the version; the value is opened where the handle is used. `secret(name)` is the same
    /// without looking: it is opened in the version that is current when it is used.
    ///
    /// Class `observe`: it looks which version there is.
    ///
    /// Fails with `not_found` when there is no such secret.
    ///
    /// ```rhai,no_run
    /// let token = secrets::get("ntfy");
    /// http::post("https://ntfy.sh/house", #{ body: "done", bearer: token });
    /// ```
    #[operation(observe, permission = "secrets.get:{name}", returns = "secret")]
    fn get(cx: &Ctx, name: String) -> Result<Value, OpError> {
        named(&name)?;
        let place = cx.secrets_place();
        let version = cx.vault()?.version(&place, &name)?.ok_or_else(|| {
            OpError::not_found(format!("there is no secret `{name}`"))
                .hint("`hob secrets list` names those that there are")
                .retryable(false)
        })?;
        let reference = SecretRef { name, version: Some(version), form: SecretForm::Plain };
        Ok(Value::Secret(Secret::reference(reference)))
    }

    /// Tells whether there is a secret of this name.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// !secrets::exists("nobody-has-made-this-one")
    /// ```
    #[operation(observe, permission = "secrets.list", returns = "bool")]
    fn exists(cx: &Ctx, name: String) -> Result<bool, OpError> {
        named(&name)?;
        Ok(cx.vault()?.version(&cx.secrets_place(), &name)?.is_some())
    }

    /// Lists the secrets that there are: `name`, `version` and `file`.
    ///
    /// Nothing is opened for it.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// secrets::list().is_empty()
    /// ```
    #[operation(observe, permission = "secrets.list", returns = "array")]
    fn list(cx: &Ctx) -> Result<Value, OpError> {
        let listed = cx.port::<LiveVault>()?.list(&cx.secrets_place())?;
        let shown = listed.into_iter().map(|one| {
            Value::map([
                ("name", Value::from(one.name)),
                ("version", Value::from(one.version)),
                ("file", Value::from(one.place.file.display().to_string())),
            ])
        });
        Ok(Value::Array(shown.collect()))
    }

    /// Names the recipients that a secret is encrypted for: those in its SOPS file, or those that `secrets.nix` says.
    ///
    /// An age file does not tell for whom it is; without a `secrets.nix` above it there are none.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` when there is no such secret.
    ///
    /// ```rhai
    /// try { secrets::recipients("nobody-has-made-this-one"); false } catch (e) { e.kind == "not_found" }
    /// ```
    #[operation(observe, permission = "secrets.list", returns = "array")]
    fn recipients(cx: &Ctx, name: String) -> Result<Vec<String>, OpError> {
        named(&name)?;
        let found = cx.port::<LiveVault>()?.find(&cx.secrets_place(), &name)?;
        let failed = |error: crate::Error| OpError::failed(error.to_string()).retryable(false);
        if found.is_sops() {
            let content = live::read(&found.file).map_err(failed)?;
            return crate::sops::recipients_of(&found.file, &content).map_err(failed);
        }
        let rule = agenix::rule_of(&found.file).map_err(failed)?;
        Ok(rule.map(|rule| rule.recipients).unwrap_or_default())
    }

    /// Options of `secrets::rotate`.
    #[derive(Debug, Options)]
    struct RotateOptions {
        /// How many letters and digits the new value has, where one is made.
        #[option(default = "LENGTH_CHARS")]
        length: u64,
        /// The new value, instead of one that is made: a secret, or a text with one in it.
        value: Option<SecretText>,
    }

    impl RotateOptions {
        fn value(self) -> NewValue {
            let made = || NewValue::Made(usize::try_from(self.length).unwrap_or(usize::MAX));
            self.value.map_or_else(made, |value| NewValue::Given(value.0))
        }
    }

    /// Gives a secret a new value, and has each service that uses it take it; gives `#{ name, version, services }`.
    ///
    /// As `hob secrets rotate`: the old value is kept until all of them are ready with the new one, in the order in which
    /// they start. The first that does not get ready stops the rotation there. Another call goes on with a rotation that is
    /// under way; `hob secrets rotate NAME --undo` goes back. A process that keeps no services only stores the value.
    ///
    /// Class `keyed`: the intent notes the version that is current. After a crash the rotation goes on where it was; another
    /// version and no old one beside it say that it is finished.
    ///
    /// Fails with `not_found` when there is no such secret; `invalid` when nobody is named to encrypt it for; `failed` when
    /// a service does not get ready with it, `conflict` when somebody else holds one.
    ///
    /// ```rhai,no_run
    /// let done = secrets::rotate("postgres", #{ length: 48 });
    /// log::info(`${done.services.len()} services have a new password`);
    /// ```
    #[operation(keyed, permission = "secrets.rotate:{name}", timeout = "30m", returns = "map", model = model_rotate,
        intent = note_version, probe = probe_rotate)]
    fn rotate(cx: &Ctx, name: String, options: RotateOptions) -> Result<Value, OpError> {
        named(&name)?;
        by_run::rotate(cx, &name, &options.value())
    }

    fn note_version(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        named(&name)?;
        by_run::note(cx, &name)
    }

    fn probe_rotate(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let name: String = args.next("name")?;
        by_run::probe(cx, &name)
    }

    fn model_rotate(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        named(&name)?;
        args.options::<RotateOptions>()?;
        by_run::modelled(cx, &name)
    }

    /// Options of `secrets::write_file`.
    #[derive(Debug, Options)]
    struct FileOptions {
        /// Its permission bits; others than its owner get none.
        #[option(default = "Mode(FILE_MODE)")]
        mode: Mode,
    }

    impl FileOptions {
        fn check(&self) -> Result<(), OpError> {
            match self.mode.0 & OTHERS_BITS {
                0 => Ok(()),
                _ => Err(OpError::invalid(format!(
                    "mode {}: others than its owner could read the secret",
                    self.mode
                ))
                .hint(
                    "use \"0400\" or \"0600\"; where a group must read it, `files::write` takes a secret too",
                )),
            }
        }
    }

    /// Writes a secret into a file that only its owner may read.
    ///
    /// The file is replaced as a whole: after a crash it is the old or the new one.
    ///
    /// Class `ensure`: written again, it is the same file.
    ///
    /// A dry run opens the secret, and writes nothing.
    ///
    /// Fails with `not_found` when there is no such secret, and `denied` when nothing at hand opens it.
    ///
    /// ```rhai
    /// secrets::write_file("motd", "no secret at all\n", #{ mode: "0600" });
    /// files::read("motd") == "no secret at all\n"
    /// ```
    #[operation(ensure, permission = "files.write:{path}", returns = "map", model = model_write_file)]
    fn write_file(
        cx: &Ctx,
        path: PathText,
        content: SecretContent,
        options: FileOptions,
    ) -> Result<Value, OpError> {
        options.check()?;
        let (path, opened) = (cx.resolve(&path.0), cx.open(&content.0)?);
        live::write_with_mode(&path, &opened, Some(options.mode.0)).map_err(|error| match error.kind {
            Kind::Io if error.message.ends_with("no such file or directory") => {
                OpError::not_found(error.message).hint("make the directory first: files::mkdir(path)")
            }
            _ => OpError::unavailable(error.message),
        })?;
        Ok(written(&path))
    }

    fn written(path: &std::path::Path) -> Value {
        Value::map([("path", Value::from(path.display().to_string()))])
    }

    fn model_write_file(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let (path, content): (PathText, SecretContent) = (args.next("path")?, args.next("content")?);
        args.options::<FileOptions>()?.check()?;
        cx.open(&content.0)?;
        Ok(written(&cx.resolve(&path.0)))
    }

    /// Tells whether two secrets, or a secret and a text, have the same value.
    ///
    /// Class `observe`: what it says depends on the values, so it is recorded. Comparing takes a time that does not depend
    /// on where they differ.
    ///
    /// ```rhai
    /// secrets::equal("abc", "abc") && !secrets::equal("abc", "abd")
    /// ```
    #[operation(observe, permission = "secrets.look", returns = "bool")]
    fn equal(cx: &Ctx, one: SecretContent, other: SecretContent) -> Result<bool, OpError> {
        let (one, other) = (cx.open(&one.0)?, cx.open(&other.0)?);
        Ok(bool::from(one.as_slice().ct_eq(&other)))
    }

    /// Gives the length of a secret, in bytes.
    ///
    /// Class `observe`: it depends on the value, so it is recorded.
    ///
    /// ```rhai
    /// secrets::length("Grüße") == 7
    /// ```
    #[operation(observe, permission = "secrets.look", returns = "int")]
    fn length(cx: &Ctx, secret: SecretContent) -> Result<u64, OpError> {
        Ok(cx.open(&secret.0)?.len() as u64)
    }

    /// What a secret is written in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
    enum Format {
        /// JSON.
        Json,
        /// YAML.
        Yaml,
    }

    /// Takes a secret apart that is a document: the same keys, with a secret in the place of each value.
    ///
    /// Class `observe`: its keys depend on the value, so they are recorded; its values stay secrets.
    ///
    /// Fails with `invalid` when the secret is no such document.
    ///
    /// ```rhai,no_run
    /// let account = secrets::parse(secrets::get("registry"), "json");
    /// http::get("https://registry.lan/v2/", #{ basic: #{ user: account.user, password: account.password } });
    /// ```
    #[operation(observe, permission = "secrets.look", returns = "any")]
    fn parse(cx: &Ctx, secret: SecretText, format: Format) -> Result<Value, OpError> {
        let of = secret.0.single().filter(|it| it.form == SecretForm::Plain).ok_or_else(|| {
            OpError::invalid("only a secret as it is can be taken apart, and no text with one in it")
        })?;
        let format = match format {
            Format::Json => "json",
            Format::Yaml => "yaml",
        };
        part::shape(&cx.open(&secret.0)?, format, of)
    }

    /// Puts secrets into a text in the place of `@NAME@`; the result is a secret, ready to be written or sent.
    ///
    /// Class `pure`: it makes an expression and opens nothing.
    ///
    /// Fails with `invalid` when the text has a placeholder that is not given, or the reverse.
    ///
    /// ```rhai
    /// let config = secrets::fill("[misc]\napi_key = @SABNZBD_API_KEY@\n", #{ SABNZBD_API_KEY: secret("sabnzbd") });
    /// type_of(config) == "secret"
    /// ```
    #[operation(pure, returns = "secret")]
    fn fill(text: String, secrets: BTreeMap<String, SecretText>) -> Result<Value, OpError> {
        let mut unused: std::collections::BTreeSet<&str> = secrets.keys().map(String::as_str).collect();
        let mut filled = Secret::default();
        let mut rest = text.as_str();
        let mut count = 0;
        while let Some((before, name, after)) = placeholder(rest) {
            filled.push(SecretPart::Text(before.to_owned()));
            let Some(secret) = secrets.get(name) else {
                return Err(OpError::invalid(format!(
                    "the text has a placeholder @{name}@, which is not given"
                ))
                .hint(format!("add {name}: secret(\"…\"), or write the text without it")));
            };
            unused.remove(name);
            filled = filled.then(secret.0.clone());
            rest = after;
            count += 1;
            if count > PLACEHOLDERS_MAX {
                return Err(OpError::invalid(format!("more than {PLACEHOLDERS_MAX} placeholders")));
            }
        }
        filled.push(SecretPart::Text(rest.to_owned()));
        match unused.first() {
            Some(name) => Err(OpError::invalid(format!("the text has no placeholder @{name}@"))),
            None => Ok(Value::Secret(filled)),
        }
    }

    /// The first placeholder of a text: `@`, capital letters, digits and `_`, `@`.
    fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let mut from = 0;
        while let Some(at) = text[from..].find('@').map(|at| from + at) {
            let after = &text[at + 1..];
            match after.find('@') {
                Some(end) if is_name(&after[..end]) => {
                    return Some((&text[..at], &after[..end], &after[end + 1..]));
                }
                Some(_) => from = at + 1,
                None => return None,
            }
        }
        None
    }
}
