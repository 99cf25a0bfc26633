//! A disk that remembers what was synced, and may lose everything else in a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use paddington_models::random::Random;

use crate::recording::Event;

/// The files of a folder, by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// When a disk keeps names and contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// A sync of any file keeps all names as well, as a file system with a journal does.
    Journal,
    /// Names are kept by a sync of their folder only.
    Folder,
    /// A sync does nothing: the control, which has to lose something.
    Nothing,
}

/// Unsynced changes that survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// The changes that were made first.
    Prefix,
    /// Any pieces of this many bytes.
    Pieces(u64),
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    promise: Promise,
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// Number of changes so far, by which changes of different files have an order.
    changes: usize,
}

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Disk {
    /// Makes a disk with these files on it, all of them synced.
    #[must_use]
    pub fn new(promise: Promise, image: &Image) -> Self {
        let file = |bytes: &Vec<u8>| File { synced: bytes.clone(), pending: vec![] };
        let names: BTreeMap<String, usize> = image.keys().cloned().zip(0..).collect();
        let files = image.values().map(file).collect();
        Self { promise, files, synced_names: names.clone(), names, changes: 0 }
    }

    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
        self.changes += 1;
        match event {
            Event::Create(name) => {
                self.names.insert(name.clone(), self.files.len());
                self.files.push(File::default());
            }
            Event::Write(name, offset, bytes) => {
                self.change(name, Change::Write(*offset, bytes.clone()));
            }
            Event::Truncate(name, len) => self.change(name, Change::Truncate(*len)),
            Event::Unlink(name) => drop(self.names.remove(name)),
            Event::Sync(_) | Event::SyncFolder if self.promise == Promise::Nothing => (),
            Event::Sync(name) => {
                let file = &mut self.files[self.names[name]];
                for (_, change) in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.synced);
                }
                if self.promise == Promise::Journal {
                    self.synced_names = self.names.clone();
                }
            }
            Event::SyncFolder => self.synced_names = self.names.clone(),
            Event::Said(_) => (),
        }
    }

    /// Returns the files that are there when the power is back.
    #[must_use]
    pub fn cut(&self, survival: Survival, random: &mut Random) -> Image {
        let until = random.below(self.changes + 2);
        let density = random.one_of(&[10, 50, 90]);
        let mut image = Image::new();
        for (name, at) in self.names_after(survival, random) {
            let file = &self.files[at];
            let mut bytes = file.synced.clone();
            for (when, change) in &file.pending {
                match survival {
                    Survival::None => (),
                    Survival::All => change.apply(&mut bytes),
                    Survival::Prefix if *when < until => change.apply(&mut bytes),
                    Survival::Prefix => (),
                    Survival::Pieces(len) => change.apply_some(&mut bytes, len, density, random),
                }
            }
            image.insert(name, bytes);
        }
        image
    }

    /// Returns the names after a power cut: a change that was not synced may be kept or not.
    fn names_after(&self, survival: Survival, random: &mut Random) -> BTreeMap<String, usize> {
        let mut names = match survival {
            Survival::None => return self.synced_names.clone(),
            Survival::All => return self.names.clone(),
            Survival::Prefix | Survival::Pieces(_) => self.synced_names.clone(),
        };
        let both: Vec<_> = self.names.keys().chain(self.synced_names.keys()).cloned().collect();
        for name in both {
            if random.percent(50) {
                match self.names.get(&name) {
                    Some(at) => drop(names.insert(name, *at)),
                    None => drop(names.remove(&name)),
                }
            }
        }
        names
    }

    fn change(&mut self, name: &str, change: Change) {
        self.files[self.names[name]].pending.push((self.changes, change));
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => bytes.resize(*len as usize, 0),
            Self::Write(offset, data) => write(bytes, *offset as usize, data),
        }
    }

    /// Applies each piece of a write or leaves it out.
    fn apply_some(&self, bytes: &mut Vec<u8>, len: u64, density: usize, random: &mut Random) {
        let Self::Write(offset, data) = self else {
            if random.percent(density) {
                self.apply(bytes);
            }
            return;
        };
        let (mut at, end) = (*offset, *offset + data.len() as u64);
        while at < end {
            let next = end.min((at / len + 1) * len);
            if random.percent(density) {
                let piece = &data[(at - offset) as usize..(next - offset) as usize];
                write(bytes, at as usize, piece);
            }
            at = next;
        }
    }
}

fn write(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// Puts files into a folder.
pub fn write_image(image: &Image, folder: &Path) {
    for (name, bytes) in image {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Reads the files of a folder, except the reserve, in which nothing is stored.
#[must_use]
pub fn read_image(folder: &Path) -> Image {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let is_stored =
        |entry: &fs::DirEntry| !entry.file_name().to_str().unwrap().ends_with("-reserve");
    fs::read_dir(folder).unwrap().map(Result::unwrap).filter(is_stored).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsynced_changes_may_be_lost() {
        let name = || "store".to_owned();
        let write = |byte| Event::Write(name(), 0, vec![byte; 8192]);
        let mut disk = Disk::new(Promise::Folder, &Image::new());
        for event in [Event::Create(name()), write(1), Event::Sync(name()), write(2)] {
            disk.apply(&event);
        }
        let mut random = Random::new(1);
        assert_eq!(disk.cut(Survival::None, &mut random), Image::new(), "not even its name");
        assert_eq!(disk.cut(Survival::All, &mut random)["store"], vec![2; 8192]);
        disk.apply(&Event::SyncFolder);
        assert_eq!(disk.cut(Survival::None, &mut random)["store"], vec![1; 8192]);
        let seen = (0..20).map(|_| disk.cut(Survival::Pieces(4096), &mut random));
        let mixed = seen.filter(|image| image["store"][0] != image["store"][8191]).count();
        assert!(mixed > 0, "pieces are kept or lost one by one");
    }
}
