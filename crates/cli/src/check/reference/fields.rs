//! The fields of the configuration's types, as their source has them.

use std::fs;
use std::path::Path;

use syn::{Attribute, Expr, Field, Fields, Item, Lit, Meta, Type};

/// A field of a table.
#[derive(Debug)]
pub(super) struct Setting {
    /// The keys that lead to it.
    pub(super) path: Vec<String>,
    /// The type in the source, such as `usize`, or how it is read: `time`, `time or 0`, `size of u32`.
    pub(super) kind: String,
    /// What the comment says.
    pub(super) effect: String,
    /// Whether it has to be there.
    pub(super) is_required: bool,
}

/// The tables: where their types are, and whether all their fields are optional.
const TABLES: [(&str, &str, &str, bool); 17] = [
    ("", "crates/paddington/src/format.rs", "ServiceFile", false),
    ("clients", "crates/paddington/src/format.rs", "ClientEntry", false),
    ("servers", "crates/paddington/src/format.rs", "ServerEntry", false),
    ("at_rest", "crates/paddington/src/at_rest/settings.rs", "Table", true),
    ("cluster", "crates/paddington/src/cluster.rs", "Table", true),
    ("tls", "crates/transport/src/tls_files.rs", "Fields", true),
    ("settings", "crates/exchange/src/config.rs", "Config", true),
    ("settings.on_error", "crates/exchange/src/handling/on_error.rs", "OnError", false),
    ("settings.transport", "crates/transport/src/config.rs", "Config", true),
    ("settings.transport.limits", "crates/transport/src/config.rs", "Limits", true),
    ("settings.transport.timeouts", "crates/transport/src/config.rs", "Timeouts", true),
    ("settings.transport.retry", "crates/transport/src/config.rs", "Retry", true),
    ("settings.transport.proxies", "crates/transport/src/proxy.rs", "TrustedProxies", true),
    ("settings.transport.outbound", "crates/transport/src/outbound/settings.rs", "Outbound", true),
    ("api", "crates/cli/src/folder.rs", "Api", true),
    ("health", "crates/cli/src/folder.rs", "Health", true),
    ("handler", "crates/cli/src/folder.rs", "Program", true),
];

/// The fields of the original paddington, which have no meaning here.
const ORIGINAL: [&str; 3] = ["healthcheck_port", "proxy_header", "encryption"];

/// Returns the tables and their fields, in the order of the page.
pub(super) fn tables() -> Vec<(String, Vec<Setting>)> {
    let read = |(table, file, name, optional): &(&str, &str, &str, bool)| {
        let path: Vec<_> =
            table.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        (table.to_string(), fields(&path, file, name, *optional))
    };
    TABLES.iter().map(read).collect()
}

fn fields(table: &[String], file: &str, name: &str, optional: bool) -> Vec<Setting> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let source = syn::parse_file(&fs::read_to_string(source).unwrap()).unwrap();
    let item = source.items.iter().find(|item| match item {
        Item::Struct(item) => item.ident == name,
        Item::Enum(item) => item.ident == name,
        _ => false,
    });
    match item.unwrap_or_else(|| unreachable!("{name} in {file}")) {
        Item::Struct(item) => {
            let fields = item.fields.iter().filter(|field| !is_of_other_table(table, field));
            fields.map(|field| setting(table, field, optional)).collect()
        }
        Item::Enum(item) => of_policy(table, item),
        _ => Vec::new(),
    }
}

/// Returns whether a field is a table that has its own place on the page, or has no meaning.
fn is_of_other_table(table: &[String], field: &Field) -> bool {
    let name = key(field);
    let path: Vec<_> = table.iter().cloned().chain([name.clone()]).collect();
    let path = path.join(".");
    TABLES.iter().any(|(other, ..)| *other == path)
        || table.is_empty() && ORIGINAL.contains(&name.as_str())
        || name == "zone"
}

fn setting(table: &[String], field: &Field, optional: bool) -> Setting {
    let name = key(field);
    let kind = kind(field);
    let attributes = serde_of(&field.attrs);
    let is_required = !optional && !attributes.contains("default") && !kind.starts_with("Option");
    let effect = comment(&field.attrs);
    assert!(!effect.is_empty(), "{name} of {table:?} has no comment");
    Setting { path: table.iter().cloned().chain([name]).collect(), kind, effect, is_required }
}

/// The fields of the one enum: its tag, and those of its variants.
fn of_policy(table: &[String], item: &syn::ItemEnum) -> Vec<Setting> {
    let words = item.variants.iter().map(|variant| {
        let word = variant.ident.to_string().to_lowercase();
        let comment = comment(&variant.attrs).replace("`Next`", "`\"next\"`");
        format!("`\"{word}\"`: {comment}")
    });
    let tag = Setting {
        path: table.iter().cloned().chain(["policy".to_owned()]).collect(),
        kind: "policy".to_owned(),
        effect: words.collect::<Vec<_>>().join(" "),
        is_required: false,
    };
    let fields = item.variants.iter().flat_map(|variant| match &variant.fields {
        Fields::Named(fields) => fields.named.iter().collect(),
        _ => Vec::new(),
    });
    let fields = fields.map(|field| setting(table, field, false));
    [tag].into_iter().chain(fields).collect()
}

fn key(field: &Field) -> String {
    field
        .ident
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
        .trim_start_matches('_')
        .to_owned()
}

/// Returns how a field is read.
fn kind(field: &Field) -> String {
    let attributes = serde_of(&field.attrs);
    let written = type_of(&field.ty);
    if attributes.contains("seconds :: or_zero") || attributes.contains("seconds::or_zero") {
        "time or 0".to_owned()
    } else if attributes.contains("\"seconds\"") {
        "time".to_owned()
    } else if attributes.contains("size::deserialize") {
        format!("size of {written}")
    } else {
        written
    }
}

/// Returns a type without the modules that lead to it.
fn type_of(written: &Type) -> String {
    let Type::Path(path) = written else { unreachable!() };
    let last = path.path.segments.last().unwrap();
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(inner) => {
            let inner = inner.args.iter().filter_map(|it| match it {
                syn::GenericArgument::Type(inner) => Some(type_of(inner)),
                _ => None,
            });
            format!("<{}>", inner.collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    };
    format!("{}{inner}", last.ident)
}

/// Returns what the attributes of serde say.
fn serde_of(attributes: &[Attribute]) -> String {
    let lists = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("serde") => Some(list.tokens.to_string()),
        _ => None,
    });
    lists.collect::<Vec<_>>().join(", ")
}

/// Returns a comment on one line, with links as plain text.
fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(text) => match &text.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    without_links(&text).replace('|', "\\|")
}

/// Turns `` [`X`](X::Y) `` and `` [`X`] `` into `` `X` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        plain.push_str(before);
        let Some((name, after)) = link.split_once("`]") else { break };
        plain.push_str(&format!("`{name}`"));
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain.push_str(rest);
    plain
}
