//! The header `Forwarded` (RFC 7239), as far as it names addresses.

/// Returns what each element of a line names as `for`, in their order, without quotes. An element that
/// does not name exactly one, and a line that is malformed, is an empty text, which is no address.
///
/// A proxy puts its element behind a line that may be forged. An open quote in front of that element
/// would change its meaning, but is never closed then, because the element's own quotes are paired: the
/// whole line is malformed.
pub(crate) fn nodes(line: &str) -> Vec<&str> {
    let Some(elements) = split(line, ',') else { return vec![""] };
    elements.into_iter().map(|element| node(element).unwrap_or_default()).collect()
}

fn node(element: &str) -> Option<&str> {
    let mut node = None;
    for pair in split(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") && node.replace(unquoted(value)?).is_some() {
            return None;
        }
    }
    node
}

/// Returns the text of a token or a quoted string. Addresses need no escapes.
fn unquoted(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = inner.unwrap_or(value);
    (!text.contains(['"', '\\'])).then_some(text)
}

/// Splits a text where `separator` is not quoted. Returns `None` if a quote is left open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[start..place]);
                start = place + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_names_one_address() {
        let cases: [(&str, &[&str]); 12] = [
            ("for=192.0.2.7", &["192.0.2.7"]),
            ("For=192.0.2.7;proto=https;by=203.0.113.43", &["192.0.2.7"]),
            ("proto=http; for=\"192.0.2.7:47011\"", &["192.0.2.7:47011"]),
            ("for=192.0.2.7, for=\"[2001:db8::1]:4711\"", &["192.0.2.7", "[2001:db8::1]:4711"]),
            ("for=unknown , for=_hidden", &["unknown", "_hidden"]),
            ("host=\"a,for=10.0.0.1;b\";for=192.0.2.7", &["192.0.2.7"]),
            ("by=10.0.0.1", &[""]),
            ("for=192.0.2.7;for=192.0.2.8", &[""]),
            ("192.0.2.7", &[""]),
            ("for=\"192.0.2.7", &[""]),
            ("for=\"192.0.2.7\\\"\"", &[""]),
            ("", &[""]),
        ];
        for (line, expected) in cases {
            assert_eq!(nodes(line), expected, "{line}");
        }
    }

    #[test]
    fn an_open_quote_does_not_change_the_element_behind_it() {
        for forged in ["for=\"", "for=10.0.0.1;x=\"", "for=\"10.0.0.1;x=\\", "x=\"\\"] {
            for own in [
                "for=192.0.2.7",
                "for=\"[2001:db8::1]\"",
                "for=\"[2001:db8::1]:1\";by=\"for=10.0.0.1\"",
            ] {
                let line = format!("{forged}, {own}");
                assert_eq!(nodes(&line), [""], "{line}");
            }
        }
    }
}
