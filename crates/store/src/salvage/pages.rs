//! The pages of a file, with those in its log in their places, and which of them are in use.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::files;
use crate::schema::APPLICATION;

/// The length of a page: the default of SQLite, which every store has.
pub(super) const PAGE: usize = 4_096;
/// The least that a message takes of a page: its place, its position, six columns, a checksum.
const MESSAGE: usize = 20;
/// Pages that one page of the pointer map describes, after itself.
const MAPPED: u32 = PAGE as u32 / 5;
/// Kinds of pages in the pointer map.
const ROOT: u8 = 1;
const TREE: u8 = 5;

/// A page.
pub(super) type Page = Box<[u8; PAGE]>;

/// The file and its log.
pub(super) struct Pages {
    file: File,
    log: Option<File>,
    /// The position of each page that is in the log.
    logged: HashMap<u32, u64>,
    /// The number of pages in the file itself.
    in_file: u32,
    count: u32,
}

impl Pages {
    pub(super) fn new(mut file: File, log: Option<File>) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        let in_file = u32::try_from(len / PAGE as u64).unwrap_or(u32::MAX);
        let mut count = in_file;
        let mut logged = HashMap::new();
        let mut log = log;
        if let Some(log) = &mut log {
            read_log(log, &mut logged, &mut count)?;
        }
        let mut pages = Self { file, log, logged, in_file, count };
        // What is behind the pages that the first one counts was removed.
        let first = pages.read(1).filter(|first| first.starts_with(b"SQLite format 3\0"));
        let counted = first.and_then(|first| number(&first[..], 28)).filter(|count| *count > 0);
        pages.count = counted.map_or(count, |counted| counted.min(count));
        Ok(pages)
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The number of messages that the pages which are there can have held. What the first page or
    /// the log claims to be there does not count.
    pub(super) fn most_messages(&self) -> u64 {
        let pages = u64::from(self.in_file) + self.logged.len() as u64;
        pages.saturating_mul((PAGE / MESSAGE) as u64)
    }

    /// Returns whether the first page says that this is the database of another application.
    pub(super) fn is_other(&mut self) -> bool {
        self.application().is_some_and(|application| application != APPLICATION)
    }

    /// Returns whether the file is a log, as an interrupted salvage leaves it.
    pub(super) fn is_log(&mut self) -> bool {
        let mut begin = [0; 4];
        let read =
            self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut begin));
        read.is_ok() && files::is_log(&begin)
    }

    /// Returns whether the first page says that this is a store.
    pub(super) fn is_store(&mut self) -> bool {
        self.application() == Some(APPLICATION)
    }

    fn application(&mut self) -> Option<i64> {
        let first = self.read(1).filter(|first| first.starts_with(b"SQLite format 3\0"))?;
        number(&first[..], 68).map(i64::from)
    }

    /// Reads a page; `None` if there is none with this number, or it cannot be read.
    pub(super) fn read(&mut self, number: u32) -> Option<Page> {
        if number == 0 || number > self.count {
            return None;
        }
        let (file, at) = match (self.logged.get(&number), &mut self.log) {
            (Some(at), Some(log)) => (log, *at),
            _ => (&mut self.file, u64::from(number - 1) * PAGE as u64),
        };
        let mut page = Box::new([0; PAGE]);
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut page[..]).ok()?;
        Some(page)
    }

    /// The pages that the pointer map describes as parts of a tree; and those of which it says
    /// nothing, because it is damaged there. The content of other pages was removed.
    pub(super) fn mapped(&mut self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (mut trees, mut unknown) = (BTreeSet::new(), BTreeSet::from([1]));
        for map in self.maps() {
            let described = map.saturating_add(1)..=map.saturating_add(MAPPED).min(self.count);
            match self.read(map).filter(|page| self.is_map(page, described.clone().count())) {
                Some(page) => {
                    let kinds = described.zip(page.chunks_exact(5));
                    let in_trees = kinds.filter(|(_, entry)| [ROOT, TREE].contains(&entry[0]));
                    trees.extend(in_trees.map(|(number, _)| number));
                }
                None => unknown.extend(described.filter(|number| self.is_there(*number))),
            }
        }
        (trees, unknown)
    }

    /// The pages of the pointer map that describe a page which is there: a log may claim far more
    /// pages than there are.
    fn maps(&self) -> BTreeSet<u32> {
        let map_of = |number: u32| number - (number - 2) % (MAPPED + 1);
        let logged = self.logged.keys().copied();
        let logged = logged.filter(|number| (2..=self.count).contains(number)).map(map_of);
        let in_file = (2..=self.in_file.min(self.count)).step_by(MAPPED as usize + 1);
        in_file.chain(logged).collect()
    }

    fn is_there(&self, number: u32) -> bool {
        number <= self.in_file || self.logged.contains_key(&number)
    }

    /// Returns whether each of the entries of a page of the pointer map is possible.
    fn is_map(&self, page: &[u8; PAGE], entries: usize) -> bool {
        page.chunks_exact(5).take(entries).all(|entry| match (entry[0], number(entry, 1)) {
            (1 | 2, parent) => parent == Some(0),
            (3..=5, Some(parent)) => (1..=self.count).contains(&parent),
            // The page that SQLite leaves out for its locks, and pages at the end of the file.
            (0, parent) => parent == Some(0),
            _ => false,
        }) && page.iter().any(|byte| *byte != 0)
    }
}

/// Reads a number of four bytes.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Finds the pages of all transactions in a log that are complete, up to the first damage.
fn read_log(log: &mut File, logged: &mut HashMap<u32, u64>, count: &mut u32) -> io::Result<()> {
    const HEADER: usize = 32;
    const FRAME: usize = 24;
    let mut header = [0; HEADER];
    log.seek(SeekFrom::Start(0))?;
    if log.read_exact(&mut header).is_err() {
        return Ok(());
    }
    let is_big_endian = match number(&header, 0) {
        Some(0x377f_0682) => false,
        Some(0x377f_0683) => true,
        _ => return Ok(()),
    };
    let mut sum = Sum { is_big_endian, at: (0, 0) };
    sum.add(&header[..24]);
    if !sum.is(&header[24..]) || number(&header, 8) != Some(PAGE as u32) {
        return Ok(());
    }
    let (mut begun, mut at) = (HashMap::new(), HEADER as u64);
    let mut frame = vec![0; FRAME + PAGE];
    while log.read_exact(&mut frame).is_ok() {
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME..]);
        let (Some(page), Some(pages)) = (number(&frame, 0), number(&frame, 4)) else { break };
        if frame[8..16] != header[16..24] || !sum.is(&frame[16..24]) {
            break;
        }
        begun.insert(page, at + FRAME as u64);
        at += frame.len() as u64;
        if pages > 0 {
            logged.extend(begun.drain());
            *count = pages;
        }
    }
    Ok(())
}

/// The checksum of a log so far.
struct Sum {
    is_big_endian: bool,
    at: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<4>();
        let read = if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        for pair in words.chunks_exact(2) {
            let (first, second) = (read(pair[0]), read(pair[1]));
            self.at.0 = self.at.0.wrapping_add(first).wrapping_add(self.at.1);
            self.at.1 = self.at.1.wrapping_add(second).wrapping_add(self.at.0);
        }
    }

    fn is(&self, stored: &[u8]) -> bool {
        (number(stored, 0), number(stored, 4)) == (Some(self.at.0), Some(self.at.1))
    }
}
