//! The documents are up to date: their links have targets, their quotes match the sources, and
//! their commands exist.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Returns the paths in `folder` and below it whose names end with `end`.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if ["target", "node_modules"].contains(&name) {
                continue; // not of this repository
            }
            found.extend(files(&path, end));
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found
}

/// Returns the paths of all documents of the repository.
fn documents() -> Vec<PathBuf> {
    let root = root();
    let top = ["README.md", "CHANGELOG.md"];
    let mut documents: Vec<_> = top.iter().map(|name| root.join(name)).collect();
    for folder in ["docs", "examples", "crates", "trials"] {
        documents.extend(files(&root.join(folder), ".md"));
    }
    documents
}

/// A line of a document, with the language of the block of code that it is in.
type Line<'a> = (Option<&'a str>, &'a str);

/// Returns the lines of a document without the fences around its code.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut block = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(language) if block.is_none() => block = Some(language),
            Some(_) => block = None,
            None => lines.push((block, line)),
        }
    }
    lines
}

/// Returns possible commands of a document: lines in blocks of code, and code within a line.
fn commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    for (block, line) in lines(text) {
        match block {
            Some(_) => commands.push(line.trim_start_matches("$ ").trim()),
            None => commands.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    commands
}

/// Returns the targets of the links in a document.
fn links(text: &str) -> Vec<&str> {
    let prose = lines(text).into_iter().filter(|(block, _)| block.is_none());
    prose
        .flat_map(|(_, line)| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .collect()
}

/// Returns the anchors of a document's headings, by the rules of GitHub and others.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for (block, line) in lines(text) {
        let heading = line.trim_start_matches('#');
        if block.is_some() || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor: String = heading
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .flat_map(char::to_lowercase)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = times.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// Returns the fault of a link in `document`, if any.
fn fault(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        path => document.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some(format!("{}: nothing at {link}", document.display()));
    }
    let known = anchor.is_empty() || anchors(&read(&target)).contains(anchor);
    (!known).then(|| format!("{}: no heading for {link}", document.display()))
}

#[test]
fn every_link_has_a_target() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for document in documents() {
        for link in links(&read(&document)) {
            checked += 1;
            faults.extend(fault(&document, link));
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(checked > 20, "{checked} links: this test does not find the documents");
}

#[test]
fn a_missing_target_is_noticed() {
    let readme = root().join("README.md");
    assert_eq!(links("a [b](c.md#d) `e`\n```\n[f](g)\n```\n[h](i)"), ["c.md#d", "i"]);
    assert!(fault(&readme, "docs/nowhere.md").is_some());
    assert!(fault(&readme, "docs/protocol.md#nowhere").is_some());
    assert!(fault(&readme, "#see-it-run").is_none());
    assert!(fault(&readme, "docs/protocol.md#11-who-and-what").is_some());
    assert!(fault(&readme, "docs/protocol.md#1-who-and-what").is_none());
    assert!(
        anchors("# A `b`, c_d\n## x\n## x\n").is_superset(&["x-1".into(), "a-b-c_d".into()].into())
    );
}

#[test]
fn the_pages_of_the_examples_quote_their_sources() {
    let mut quotes = 0;
    for page in files(&root().join("examples"), "README.md") {
        let folder = page.parent().unwrap().join("src");
        if !folder.exists() {
            continue; // the examples of the local API are in other languages
        }
        let sources = files(&folder, ".rs");
        let sources: Vec<_> = sources.iter().map(|path| read(path)).collect();
        let text = read(&page);
        for quote in text.split("```rust\n").skip(1) {
            let quote = quote.split("```").next().unwrap();
            let page = page.display();
            assert!(sources.iter().any(|source| source.contains(quote)), "{page}:\n{quote}");
            quotes += 1;
        }
    }
    assert!(quotes > 0);
}

/// Without a subscriber nothing is shown, and without a way to end it nothing is delivered.
#[test]
fn the_snippet_of_the_readme_shows_its_log_and_ends() {
    let readme = read(&root().join("README.md"));
    let snippet = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    for part in ["tracing_subscriber::fmt().init()", "ctrl_c()", "service.shutdown()"] {
        assert!(snippet.contains(part), "{part}");
    }
}

#[test]
fn every_recipe_that_is_named_exists() {
    let makefile = read(&root().join("Makefile"));
    let recipes: BTreeSet<_> =
        makefile.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert!(recipes.contains("check"));
    let mut named = 0;
    for document in documents() {
        let text = read(&document);
        for command in commands(&text) {
            let Some(arguments) = command.strip_prefix("make ") else { continue };
            let recipe = arguments.split_whitespace().find(|word| !word.contains('=')).unwrap();
            assert!(recipes.contains(recipe), "{}: {command}", document.display());
            named += 1;
        }
    }
    assert!(named > 2);
}

#[test]
fn every_package_that_is_run_exists() {
    let manifests = files(&root(), "Cargo.toml");
    let manifests: Vec<_> = manifests.iter().map(|path| read(path)).collect();
    let packages: BTreeSet<_> = manifests
        .iter()
        .flat_map(|manifest| manifest.lines())
        .filter_map(|line| line.strip_prefix("name = "))
        .map(|name| name.trim_matches('"'))
        .collect();
    let mut named = 0;
    for document in documents() {
        let text = read(&document);
        for command in commands(&text).into_iter().filter(|command| command.starts_with("cargo ")) {
            let mut words = command.split_whitespace();
            while let Some(word) = words.next() {
                if matches!(word, "-p" | "--package") {
                    let package = words.next().unwrap();
                    assert!(packages.contains(package), "{}: {command}", document.display());
                    named += 1;
                }
            }
        }
    }
    assert!(named > 1);
}
