//! A path that leads to something else than a store: it is refused, and nothing there is changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::{Place, close, fill, mailbox, stored};
use paddington_store::{OpenStoreError, SqliteStore};

/// Everything in a folder: kind, mode, owner, length, content, by name.
type Found = BTreeMap<String, (u32, u32, u64, Option<Vec<u8>>)>;

fn found(folder: &Path) -> Found {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = metadata.is_file().then(|| fs::read(&path).unwrap());
            let (mode, owner) = (metadata.mode(), metadata.uid());
            let name = entry.file_name().into_string().unwrap();
            (name, (mode, owner, metadata.rdev(), content))
        })
        .collect()
}

/// Opens the store, which has to fail and to change nothing in its folder.
fn refused(place: &Place) -> OpenStoreError {
    let folder = place.path().parent().unwrap().to_owned();
    let before = found(&folder);
    let error = SqliteStore::open(place.path()).unwrap_err();
    assert!(found(&folder) == before, "something has changed: {error}");
    error
}

fn open_to_all(path: impl AsRef<Path>) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o664)).unwrap();
}

#[test]
fn a_text_file_is_left_as_it_is() {
    for text in ["my notes", "SQLite format 3", &"a longer text. ".repeat(1_000)] {
        let place = Place::new();
        fs::write(place.path(), text).unwrap();
        open_to_all(place.path());
        let error = refused(&place);
        assert!(matches!(error, OpenStoreError::NotAStore(_)), "{error:?}");
    }
}

#[test]
fn a_database_of_another_application_is_left_as_it_is() {
    for (mode, application) in [("DELETE", 0), ("WAL", 0), ("WAL", 7)] {
        let place = Place::new();
        let other = rusqlite::Connection::open(place.path()).unwrap();
        let set_up = format!(
            "PRAGMA journal_mode = {mode}; PRAGMA application_id = {application};
             CREATE TABLE mine(x); INSERT INTO mine VALUES(1);"
        );
        other.execute_batch(&set_up).unwrap();
        open_to_all(place.path());
        // While it is in use, and afterwards.
        let error = refused(&place);
        assert!(matches!(error, OpenStoreError::NotAStore(_)), "{mode}: {error:?}");
        other.execute_batch("INSERT INTO mine VALUES(2)").unwrap();
        drop(other);
        let error = refused(&place);
        assert!(matches!(error, OpenStoreError::NotAStore(_)), "{mode}: {error:?}");
    }
}

#[test]
fn a_database_whose_owner_was_killed_is_left_as_it_is() {
    let (place, source) = (Place::new(), Place::new());
    let other = rusqlite::Connection::open(source.path()).unwrap();
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE mine(x)").unwrap();
    for end in ["", "-wal"] {
        let name = |place: &Place| format!("{}{end}", place.path().display());
        fs::copy(name(&source), name(&place)).unwrap();
        open_to_all(name(&place));
    }
    let error = refused(&place);
    assert!(matches!(error, OpenStoreError::NotAStore(_)), "{error:?}");
}

#[tokio::test]
async fn links_are_not_followed() {
    let (place, target) = (Place::new(), Place::new());
    close(target.open()).await;
    symlink(target.path(), place.path()).unwrap();
    let before = found(target.path().parent().unwrap());
    assert!(matches!(refused(&place), OpenStoreError::Link(_)));
    assert!(found(target.path().parent().unwrap()) == before);
    // Nor one that leads nowhere: no file is created at its other end.
    fs::remove_file(place.path()).unwrap();
    symlink(target.path().with_extension("new"), place.path()).unwrap();
    assert!(matches!(refused(&place), OpenStoreError::Link(_)));
    assert!(!target.path().with_extension("new").exists());
}

#[test]
fn only_regular_files_are_opened() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    assert!(matches!(refused(&place), OpenStoreError::NotAFile(_)));
    fs::remove_dir(place.path()).unwrap();
    assert!(Command::new("mkfifo").arg(place.path()).status().unwrap().success());
    open_to_all(place.path());
    assert!(matches!(refused(&place), OpenStoreError::NotAFile(_)));
    fs::remove_file(place.path()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(place.path()).unwrap());
    assert!(matches!(refused(&place), OpenStoreError::NotAFile(_)));
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode();
    let before = mode("/dev/null");
    let error = SqliteStore::open("/dev/null").unwrap_err();
    assert!(matches!(error, OpenStoreError::NotAFile(_)), "{error:?}");
    assert_eq!(mode("/dev/null"), before);
}

#[tokio::test]
async fn a_file_of_another_user_is_left_as_it_is() {
    let place = Place::new();
    close(place.open()).await;
    open_to_all(place.path());
    if std::os::unix::fs::chown(place.path(), Some(12_345), None).is_err() {
        eprintln!("skipped: only the superuser may give a file away");
        return;
    }
    assert!(matches!(refused(&place), OpenStoreError::OtherOwner(_)));
}

#[tokio::test]
async fn what_has_the_name_of_the_log_is_checked_too() {
    let name = |place: &Place, end: &str| format!("{}{end}", place.path().display());
    for end in ["-wal", "-journal"] {
        for existing in [false, true] {
            let place = Place::new();
            if existing {
                close(place.open()).await;
            }
            let beside = name(&place, end);
            fs::write(&beside, "my notes").unwrap();
            open_to_all(&beside);
            let error = refused(&place);
            assert!(matches!(error, OpenStoreError::NotALog(_)), "{error:?}");
            fs::remove_file(&beside).unwrap();
            symlink("/dev/null", &beside).unwrap();
            assert!(matches!(refused(&place), OpenStoreError::Link(_)));
            fs::remove_file(&beside).unwrap();
            assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
            assert!(matches!(refused(&place), OpenStoreError::NotAFile(_)));
            fs::remove_file(&beside).unwrap();
            close(place.open()).await;
        }
    }
}

#[tokio::test]
async fn the_log_of_a_store_that_is_missing_is_kept() {
    let place = Place::new();
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=3).await;
    let copy = Place::new();
    let name = |place: &Place, end: &str| format!("{}{end}", place.path().display());
    fs::copy(name(&place, "-wal"), name(&copy, "-wal")).unwrap();
    assert!(matches!(refused(&copy), OpenStoreError::LogWithoutFile(_)));
    fs::copy(place.path(), copy.path()).unwrap();
    assert_eq!(stored(&copy.open(), &mailbox("hub")).await.len(), 3);
}

#[tokio::test]
async fn an_interrupted_creation_is_done_again() {
    // The journal of a creation, and what a power cut may have left in the file beside it.
    let mut journal = vec![0; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    journal[20..24].copy_from_slice(&512_u32.to_be_bytes());
    journal[24..28].copy_from_slice(&4096_u32.to_be_bytes());
    for left in [vec![], vec![0; 4_096], vec![0; 20_000]] {
        let place = Place::new();
        fs::write(place.path(), left).unwrap();
        fs::write(format!("{}-journal", place.path().display()), &journal).unwrap();
        let store = place.open();
        fill(&store, &mailbox("hub"), 1, 1..=3).await;
        assert_eq!(stored(&store, &mailbox("hub")).await.len(), 3);
    }
}

#[tokio::test]
async fn a_journal_that_was_never_synced_is_no_obstacle() {
    // What SQLite writes before the first sync: neither the magic number nor the number of pages.
    let mut journal = vec![0; 516];
    journal[12..16].copy_from_slice(&0xb168_4613_u32.to_be_bytes());
    journal[16..20].copy_from_slice(&1_u32.to_be_bytes());
    journal[20..24].copy_from_slice(&512_u32.to_be_bytes());
    journal[24..28].copy_from_slice(&4096_u32.to_be_bytes());
    let place = Place::new();
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=3).await;
    close(store).await;
    fs::write(format!("{}-journal", place.path().display()), &journal).unwrap();
    let store = place.open();
    assert_eq!(stored(&store, &mailbox("hub")).await.len(), 3);
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    open_to_all(place.path());
    let store = place.open();
    fill(&store, &mailbox("hub"), 1, 1..=3).await;
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o600);
}
