//! Derives for what operations take and give.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result, Type};

/// The text of the doc comments among `attrs`, without the leading space of each line.
pub(crate) fn doc_text(attrs: &[syn::Attribute]) -> String {
    let lines = attrs.iter().filter(|attr| attr.path().is_ident("doc")).filter_map(|attr| match &attr.meta {
        syn::Meta::NameValue(pair) => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// Whether `ty` is written `Option<…>`.
pub(crate) fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Option"))
}

fn named_fields(input: &DeriveInput) -> Result<Vec<&Field>> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            _ => Err(Error::new_spanned(input, "a struct with named fields is needed")),
        },
        _ => Err(Error::new_spanned(input, "a struct with named fields is needed")),
    }
}

/// `timeout`, also for `r#type`.
fn key_of(field: &Field) -> String {
    field.ident.as_ref().map(ToString::to_string).unwrap_or_default().trim_start_matches("r#").to_owned()
}

fn default_of(field: &Field) -> Result<Option<LitStr>> {
    let mut default = None;
    for attr in field.attrs.iter().filter(|attr| attr.path().is_ident("option")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                default = Some(meta.value()?.parse::<LitStr>()?);
                Ok(())
            } else {
                Err(meta.error("only `default = \"EXPR\"` is known"))
            }
        })?;
    }
    Ok(default)
}

pub(crate) fn derive_options(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let name = &input.ident;
    let (mut specs, mut reads) = (Vec::new(), Vec::new());
    for field in named_fields(&input)? {
        let (ident, ty, key, doc) = (&field.ident, &field.ty, key_of(field), doc_text(&field.attrs));
        if doc.is_empty() {
            return Err(Error::new_spanned(field, format!("the option `{key}` has no documentation")));
        }
        let default = default_of(field)?;
        let (shown, required) = match &default {
            Some(text) => (text.value(), false),
            None => (String::new(), !is_option(ty)),
        };
        specs.push(quote! {
            ::hob_primitive::OptionSpec {
                key: #key, kind: <#ty as ::hob_primitive::FromValue>::KIND, choices: <#ty as ::hob_primitive::FromValue>::CHOICES,
                doc: #doc, default: #shown, required: #required,
            }
        });
        reads.push(match default {
            Some(text) => {
                let expr: syn::Expr = text.parse()?;
                quote! { #ident: map.take::<Option<#ty>>(#key)?.unwrap_or_else(|| #expr) }
            }
            None if is_option(ty) => quote! { #ident: map.take::<#ty>(#key)? },
            None => quote! { #ident: map.require::<#ty>(#key)? },
        });
    }
    Ok(quote! {
        impl ::hob_primitive::FromOptions for #name {
            const SPECS: &'static [::hob_primitive::OptionSpec] = &[#(#specs),*];
            fn from_options(map: &mut ::hob_primitive::OptionMap) -> ::core::result::Result<Self, ::hob_model::OpError> {
                Ok(Self { #(#reads),* })
            }
        }
    })
}

/// `ZstdFast` as `zstd_fast`.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

pub(crate) fn derive_choice(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input, "an enum of unit variants is needed"));
    };
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let texts: Vec<_> = variants.iter().map(|ident| snake_case(&ident.to_string())).collect();
    Ok(quote! {
        impl ::hob_primitive::FromValue for #name {
            const KIND: &'static str = "string";
            const CHOICES: &'static [&'static str] = &[#(#texts),*];
            fn from_value(value: ::hob_model::Value) -> ::core::result::Result<Self, ::hob_primitive::Mismatch> {
                match value.as_str() {
                    #(Some(#texts) => Ok(Self::#variants),)*
                    Some(other) => Err(::hob_primitive::Mismatch::choice(other, Self::CHOICES)),
                    None => Err(::hob_primitive::Mismatch::of::<Self>(&value)),
                }
            }
        }
        impl #name {
            /// The text that scripts use.
            #[must_use]
            pub fn as_str(&self) -> &'static str {
                match self { #(Self::#variants => #texts,)* }
            }
        }
        impl ::core::convert::From<#name> for ::hob_model::Value {
            fn from(it: #name) -> Self { Self::from(it.as_str()) }
        }
    })
}

pub(crate) fn derive_into_value(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let name = &input.ident;
    let fields = named_fields(&input)?;
    let idents: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let keys: Vec<_> = fields.iter().map(|field| key_of(field)).collect();
    Ok(quote! {
        impl ::core::convert::From<#name> for ::hob_model::Value {
            fn from(it: #name) -> Self {
                Self::map([#((#keys, ::hob_model::Value::from(it.#idents))),*])
            }
        }
    })
}
