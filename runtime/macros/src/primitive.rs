//! `#[primitive]`: a module of functions becomes a table of operations.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, FnArg, Ident, Item, ItemFn, ItemMod, LitStr, Pat, Result, Token, Type};

use crate::options::{doc_text, is_option};

const CLASSES: [&str; 5] = ["pure", "observe", "ensure", "keyed", "once"];

/// `name = "files"`.
struct PrimitiveArgs {
    name: LitStr,
}

impl Parse for PrimitiveArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut name = None;
        for pair in Punctuated::<Pair, Token![,]>::parse_terminated(input)? {
            let text: LitStr = syn::parse2({
                let value = &pair.value;
                quote!(#value)
            })?;
            match pair.key.to_string().as_str() {
                "name" => name = Some(text),
                _ => return Err(Error::new(pair.key.span(), "known is `name`")),
            }
        }
        Ok(Self { name: name.ok_or_else(|| input.error("`name = \"…\"` is missing"))? })
    }
}

/// `key = value` or, for a function that is asynchronous, `key = async path`.
struct Pair {
    key: Ident,
    is_async: bool,
    value: Expr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: Ident = input.parse()?;
        input.parse::<Token![=]>()?;
        let is_async = input.parse::<Option<Token![async]>>()?.is_some();
        if is_async && key != "intent" && key != "probe" {
            return Err(Error::new(key.span(), "only `intent` and `probe` may be asynchronous"));
        }
        Ok(Self { key, is_async, value: input.parse()? })
    }
}

/// `ensure, permission = "files.write:{path}", timeout = "30s", probe = probe_append, …`
struct OperationArgs {
    class: Ident,
    pairs: Vec<Pair>,
}

impl Parse for OperationArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let class: Ident = input.parse().map_err(|error| {
            Error::new(error.span(), format!("an effect class is missing: one of {CLASSES:?}"))
        })?;
        if !CLASSES.contains(&class.to_string().as_str()) {
            return Err(Error::new(class.span(), format!("unknown effect class: one of {CLASSES:?}")));
        }
        let mut pairs = Vec::new();
        while input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                pairs.push(input.parse()?);
            }
        }
        Ok(Self { class, pairs })
    }
}

pub(crate) fn expand(attr: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let args: PrimitiveArgs = syn::parse2(attr)?;
    let mut module: ItemMod = syn::parse2(item)?;
    let doc = doc_text(&module.attrs);
    if doc.is_empty() {
        return Err(Error::new_spanned(&module.ident, "a primitive needs a doc comment"));
    }
    let Some((_, items)) = &mut module.content else {
        return Err(Error::new_spanned(&module.ident, "a primitive is a module with a body"));
    };
    let (mut operations, mut wrappers) = (Vec::new(), Vec::new());
    for item in items.iter_mut() {
        let Item::Fn(function) = item else { continue };
        let Some(at) = function.attrs.iter().position(|attr| attr.path().is_ident("operation")) else {
            continue;
        };
        let attribute = function.attrs.remove(at);
        let (operation, wrapper) = expand_operation(&args.name.value(), &attribute.parse_args()?, function)?;
        operations.push(operation);
        wrappers.push(wrapper);
    }
    let name = &args.name;
    items.push(syn::parse2(quote! {
        /// The primitive with all its operations.
        #[must_use]
        pub fn primitive() -> ::hob_primitive::Primitive {
            #(#wrappers)*
            ::hob_primitive::Primitive { name: #name, doc: #doc, operations: vec![#(#operations),*] }
        }
    })?);
    Ok(quote!(#module))
}

/// What the generated wrapper does with one parameter of the function.
enum Role {
    Context { by_ref: bool },
    Options(Type),
    Positional { name: String, ty: Type },
}

fn roles(function: &ItemFn) -> Result<Vec<Role>> {
    let mut roles = Vec::new();
    for input in &function.sig.inputs {
        let FnArg::Typed(arg) = input else {
            return Err(Error::new_spanned(input, "an operation takes no self"));
        };
        let Pat::Ident(pattern) = &*arg.pat else {
            return Err(Error::new_spanned(&arg.pat, "a plain parameter name is needed"));
        };
        let (by_ref, inner) = match &*arg.ty {
            Type::Reference(reference) => (true, &*reference.elem),
            other => (false, other),
        };
        let is_ctx =
            matches!(inner, Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Ctx"));
        let name = pattern.ident.to_string().trim_start_matches("r#").trim_start_matches('_').to_owned();
        roles.push(if is_ctx {
            Role::Context { by_ref }
        } else if name == "options" {
            Role::Options((*arg.ty).clone())
        } else {
            Role::Positional { name, ty: (*arg.ty).clone() }
        });
    }
    Ok(roles)
}

fn expand_operation(
    primitive: &str,
    args: &OperationArgs,
    function: &ItemFn,
) -> Result<(TokenStream, TokenStream)> {
    let ident = &function.sig.ident;
    let doc = doc_text(&function.attrs);
    if doc.is_empty() {
        return Err(Error::new_spanned(ident, format!("the operation `{ident}` has no documentation")));
    }
    let roles = roles(function)?;
    let class = args.class.to_string();
    let is_async = function.sig.asyncness.is_some();
    if class == "pure" && (is_async || roles.iter().any(|role| matches!(role, Role::Context { .. }))) {
        return Err(Error::new_spanned(ident, "a pure operation is a plain function and takes no context"));
    }
    let short = ident.to_string().trim_start_matches("r#").to_owned();
    let Settings { name, assignments } = read_settings(primitive, &short, ident, &class, args)?;
    let class = format_ident!("{}{}", class[..1].to_uppercase(), class[1..].to_owned());
    let handler = format_ident!("handle_{short}");
    let wrapper = expand_wrapper(&handler, function, &roles, &class.to_string());
    let kind = if class == "Pure" {
        "Pure"
    } else if is_async {
        "Async"
    } else {
        "Blocking"
    };
    let kind = format_ident!("{kind}");
    let (params, options) = expand_params(&roles);
    let operation = quote! {{
        #[allow(unused_mut)]
        let mut operation = ::hob_primitive::Operation::new(
            #name, ::hob_model::EffectClass::#class, #doc, vec![#(#params),*], #options,
            ::hob_primitive::Handler::#kind(#handler),
        );
        #(#assignments)*
        operation
    }};
    Ok((operation, wrapper))
}

/// What the operation says of its arguments, and of its options.
fn expand_params(roles: &[Role]) -> (Vec<TokenStream>, TokenStream) {
    let (mut params, mut options) = (Vec::new(), quote!(&[]));
    for role in roles {
        match role {
            Role::Positional { name, ty } => {
                let optional = is_option(ty);
                params.push(quote! {
                    ::hob_primitive::Param {
                        name: #name, kind: <#ty as ::hob_primitive::FromValue>::KIND, optional: #optional,
                        is_path: <#ty as ::hob_primitive::FromValue>::IS_PATH,
                    }
                });
            }
            Role::Options(ty) => options = quote!(<#ty as ::hob_primitive::FromOptions>::SPECS),
            Role::Context { .. } => {}
        }
    }
    (params, options)
}

/// What is written beside the class of an operation.
struct Settings {
    /// As scripts call it.
    name: String,
    /// Each sets a field of `operation`.
    assignments: Vec<TokenStream>,
}

fn read_settings(
    primitive: &str,
    short: &str,
    ident: &Ident,
    class: &str,
    args: &OperationArgs,
) -> Result<Settings> {
    let mut name = format!("{primitive}::{short}");
    let mut assignments = Vec::new();
    let (mut intent, mut probe) = (None, None);
    for pair in &args.pairs {
        let Pair { key, value, .. } = pair;
        match key.to_string().as_str() {
            "permission" => assignments.push(quote!(operation.permission = Some(#value);)),
            "timeout" => assignments.push(quote!(operation.timeout = Some(#value);)),
            "grace" => assignments.push(quote!(operation.grace = Some(#value);)),
            "on_doubt" => assignments.push(quote!(operation.on_doubt = Some(#value);)),
            "returns" => assignments.push(quote!(operation.returns = #value;)),
            "model" => assignments.push(quote!(operation.model = Some(#value);)),
            "intent" => intent = Some(pair),
            "probe" => probe = Some(pair),
            "name" => {
                let text: LitStr = syn::parse2(quote!(#value))?;
                name = format!("{primitive}::{}", text.value());
            }
            _ => {
                return Err(Error::new(
                    key.span(),
                    "known are permission, timeout, grace, on_doubt, returns, model, intent, probe, name",
                ));
            }
        }
    }
    match (class == "keyed", probe) {
        (true, Some(probe)) => {
            let intent = intent.map_or(quote!(None), |look| {
                let look = expand_look(look);
                quote!(Some(#look))
            });
            let probe = expand_look(probe);
            assignments.push(
                quote!(operation.keyed = Some(::hob_primitive::Keyed { intent: #intent, probe: #probe });),
            );
        }
        (true, None) => {
            return Err(Error::new_spanned(ident, "a keyed operation needs `probe = FUNCTION`"));
        }
        (false, Some(_)) => return Err(Error::new_spanned(ident, "only a keyed operation is probed")),
        (false, None) => {}
    }
    Ok(Settings { name, assignments })
}

/// A look at the world: the function is called as it is, or its future is boxed.
fn expand_look(pair: &Pair) -> TokenStream {
    let path = &pair.value;
    if pair.is_async {
        quote!(::hob_primitive::Look::Async(|cx, args| {
            ::std::boxed::Box::pin(async move { #path(&cx, args).await })
        }))
    } else {
        quote!(::hob_primitive::Look::Blocking(#path))
    }
}

/// The function that takes the arguments as values, reads them and calls the operation.
fn expand_wrapper(handler: &Ident, function: &ItemFn, roles: &[Role], class: &str) -> TokenStream {
    let ident = &function.sig.ident;
    let (mut reads, mut passed) = (Vec::new(), Vec::new());
    for (at, role) in roles.iter().enumerate() {
        let var = format_ident!("arg{at}");
        match role {
            Role::Context { by_ref: true } => passed.push(quote!(&cx)),
            Role::Context { by_ref: false } => passed.push(quote!(cx.clone())),
            Role::Options(ty) => {
                reads.push(quote!(let #var = args.options::<#ty>()?;));
                passed.push(quote!(#var));
            }
            Role::Positional { name, ty } => {
                reads.push(quote!(let #var = args.next::<#ty>(#name)?;));
                passed.push(quote!(#var));
            }
        }
    }
    let body = quote! { #[allow(unused_mut)] let mut args = args; #(#reads)* args.finish()?; };
    let result = quote!(::core::result::Result<::hob_model::Value, ::hob_model::OpError>);
    match (class, function.sig.asyncness.is_some()) {
        ("Pure", _) => quote! {
            fn #handler(args: ::hob_primitive::Args) -> #result { #body Ok(#ident(#(#passed),*)?.into()) }
        },
        (_, false) => quote! {
            #[allow(unused_variables)]
            fn #handler(cx: &::hob_primitive::Ctx, args: ::hob_primitive::Args) -> #result {
                let cx = cx.clone();
                #body
                Ok(#ident(#(#passed),*)?.into())
            }
        },
        (_, true) => quote! {
            #[allow(unused_variables)]
            fn #handler(cx: ::hob_primitive::Ctx, args: ::hob_primitive::Args) -> ::hob_primitive::BoxFuture {
                ::std::boxed::Box::pin(async move { #body Ok(#ident(#(#passed),*).await?.into()) })
            }
        },
    }
}
