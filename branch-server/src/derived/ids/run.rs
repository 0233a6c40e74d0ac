//! One run: a file of ids in order, each with its row.
//!
//! Header (96 bytes): magic, format, branch, count of ids, first and last row covered, length of the
//! filter, BLAKE3 over everything but itself. Then the entries, 24 bytes each: the id's 128 bits and
//! the row, big endian and little endian, and the filter. Written beside, synced, and only then
//! given its name; never changed after that.

use super::filter::Filter;
use crate::journal::Sequence;
use bank_proto::{BranchId, TransactionKey};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"FLORNIDS";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 96;
const ENTRY_BYTES: usize = 24;
/// Entries that one lookup reads.
const PAGE_ENTRIES: usize = 128;
const PREFIX: &str = "derived.ids.";

/// The rows that a run covers, which are its file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunFile {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
}

impl RunFile {
    pub(super) fn name(self) -> String {
        format!("{PREFIX}{}-{}", self.first, self.last)
    }

    fn parse(name: &str) -> Option<RunFile> {
        let (first, last) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let file = RunFile { first: first.parse().ok()?, last: last.parse().ok()? };
        // A file of another spelling is none of ours, and would not be found under our name for it.
        (file.name() == name).then_some(file)
    }

    /// The runs of a directory, oldest first; of two that begin together, the longer first.
    pub(super) fn list(directory: &Path) -> io::Result<Vec<RunFile>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            files.extend(entry?.file_name().to_str().and_then(RunFile::parse));
        }
        files.sort_unstable_by_key(|file| (file.first, std::cmp::Reverse(file.last)));
        Ok(files)
    }
}

/// A run that is open for lookups.
pub(super) struct Run {
    name: RunFile,
    file: File,
    count: usize,
    filter: Filter,
    /// The first id of each page.
    marks: Vec<u128>,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The name of its file.
    pub(super) fn name(&self) -> String {
        self.name.name()
    }

    pub(super) fn last(&self) -> Sequence {
        self.name.last
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.len_bytes() + self.marks.len() * size_of::<u128>()
    }

    /// The row of an id, with at most one read.
    pub(super) fn get(&self, key: TransactionKey) -> io::Result<Option<Sequence>> {
        if !self.filter.may_hold(key.0) {
            return Ok(None);
        }
        let Some(page) = self.marks.partition_point(|mark| *mark <= key.0).checked_sub(1) else { return Ok(None) };
        let entries = PAGE_ENTRIES.min(self.count - page * PAGE_ENTRIES);
        let mut bytes = [0; PAGE_ENTRIES * ENTRY_BYTES];
        let bytes = &mut bytes[..entries * ENTRY_BYTES];
        self.file.read_exact_at(bytes, (HEADER_BYTES + page * PAGE_ENTRIES * ENTRY_BYTES) as u64)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let found = entries.binary_search_by_key(&key.0, |entry| parse_entry(entry).0);
        Ok(found.ok().map(|place| parse_entry(&entries[place]).1))
    }

    /// Opens a run and checks every byte of it; None when it is damaged.
    pub(super) fn open(directory: &Path, branch: BranchId, name: &RunFile) -> io::Result<Option<Run>> {
        let file = File::open(directory.join(name.name()))?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let read = Run::read(&mut reader, branch, *name);
        let (count, filter, marks) = match read {
            Ok(Some(parts)) => parts,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Run { name: *name, file, count, filter, marks }))
    }

    fn read(reader: &mut impl Read, branch: BranchId, name: RunFile) -> io::Result<Option<(usize, Filter, Vec<u128>)>> {
        let mut header = [0; HEADER_BYTES];
        reader.read_exact(&mut header)?;
        let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (count, filter_bytes) = (number(16), number(40));
        if header[..HEADER_BYTES - 32] != prefix(branch, name, count, filter_bytes) {
            return Ok(None);
        }
        // Counts are believed only as far as the file goes: reading ends at its end.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header[..HEADER_BYTES - 32]);
        let mut marks = Vec::new();
        let mut entry = [0; ENTRY_BYTES];
        let mut before = None;
        for index in 0..count {
            reader.read_exact(&mut entry)?;
            hasher.update(&entry);
            let (key, _) = parse_entry(&entry);
            if before.is_some_and(|before| before >= key) {
                return Ok(None);
            }
            before = Some(key);
            if (index as usize).is_multiple_of(PAGE_ENTRIES) {
                marks.push(key);
            }
        }
        let mut filter = Vec::new();
        reader.take(filter_bytes).read_to_end(&mut filter)?;
        hasher.update(&filter);
        let is_whole = filter.len() as u64 == filter_bytes && !filter.is_empty() && filter.len() % 64 == 0;
        if !is_whole || hasher.finalize().as_bytes() != &header[HEADER_BYTES - 32..] {
            return Ok(None);
        }
        Ok(Some((count as usize, Filter::from_bytes(&filter), marks)))
    }

    /// Writes a run of ids that come in order, each once.
    pub(super) fn write(
        directory: &Path,
        branch: BranchId,
        name: RunFile,
        count: usize,
        entries: impl Iterator<Item = io::Result<(u128, Sequence)>>,
    ) -> io::Result<Run> {
        let draft = directory.join(format!("{PREFIX}draft"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&draft)?;
        let mut writer = BufWriter::with_capacity(1 << 20, &file);
        let mut filter = Filter::for_keys(count);
        let mut marks = Vec::with_capacity(count.div_ceil(PAGE_ENTRIES));
        let prefix = prefix(branch, name, count as u64, filter.len_bytes() as u64);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&prefix);
        writer.write_all(&prefix)?;
        writer.write_all(&[0; 32])?;
        let mut written = 0;
        for entry in entries {
            let (key, sequence) = entry?;
            if written % PAGE_ENTRIES == 0 {
                marks.push(key);
            }
            filter.insert(key);
            let mut bytes = [0; ENTRY_BYTES];
            bytes[..16].copy_from_slice(&key.to_be_bytes());
            bytes[16..].copy_from_slice(&sequence.to_le_bytes());
            hasher.update(&bytes);
            writer.write_all(&bytes)?;
            written += 1;
        }
        assert_eq!(written, count, "an id came twice, or not at all");
        for word in filter.bytes() {
            hasher.update(&word);
            writer.write_all(&word)?;
        }
        writer.flush()?;
        drop(writer);
        file.write_all_at(hasher.finalize().as_bytes(), (HEADER_BYTES - 32) as u64)?;
        file.sync_all()?;
        std::fs::rename(&draft, directory.join(name.name()))?;
        File::open(directory)?.sync_all()?;
        Ok(Run { name, file, count, filter, marks })
    }

    /// One run of several that stand side by side.
    pub(super) fn merge(directory: &Path, branch: BranchId, sources: &[Arc<Run>]) -> io::Result<Run> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
            return Err(io::Error::other("a merge of no runs"));
        };
        let name = RunFile { first: first.name.first, last: last.name.last };
        let count = sources.iter().map(|run| run.count).sum();
        let heads = sources.iter().map(|run| run.entries(directory)).collect::<io::Result<Vec<_>>>()?;
        Run::write(directory, branch, name, count, Merge::new(heads)?)
    }

    fn entries(&self, directory: &Path) -> io::Result<Entries> {
        let mut file = File::open(directory.join(self.name.name()))?;
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        Ok(Entries { reader: BufReader::with_capacity(1 << 18, file), left: self.count })
    }

    /// Removes the file; lookups through this run go on until it is dropped.
    pub(super) fn delete(&self, directory: &Path) -> io::Result<()> {
        std::fs::remove_file(directory.join(self.name.name()))
    }
}

fn prefix(branch: BranchId, name: RunFile, count: u64, filter_bytes: u64) -> [u8; HEADER_BYTES - 32] {
    let mut prefix = [0; HEADER_BYTES - 32];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    prefix[12..16].copy_from_slice(&branch.get().to_le_bytes());
    prefix[16..24].copy_from_slice(&count.to_le_bytes());
    prefix[24..32].copy_from_slice(&name.first.to_le_bytes());
    prefix[32..40].copy_from_slice(&name.last.to_le_bytes());
    prefix[40..48].copy_from_slice(&filter_bytes.to_le_bytes());
    prefix
}

fn parse_entry(bytes: &[u8; ENTRY_BYTES]) -> (u128, Sequence) {
    let (key, rest) = bytes.split_first_chunk().unwrap_or((&[0; 16], &[]));
    (u128::from_be_bytes(*key), rest.first_chunk().map_or(0, |rest| u64::from_le_bytes(*rest)))
}

/// The entries of a run, from its file.
struct Entries {
    reader: BufReader<File>,
    left: usize,
}

impl Entries {
    fn next(&mut self) -> io::Result<Option<(u128, Sequence)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut bytes = [0; ENTRY_BYTES];
        self.reader.read_exact(&mut bytes)?;
        Ok(Some(parse_entry(&bytes)))
    }
}

/// The entries of several runs in one order.
struct Merge {
    sources: Vec<((u128, Sequence), Entries)>,
}

impl Merge {
    fn new(runs: Vec<Entries>) -> io::Result<Merge> {
        let mut sources = Vec::with_capacity(runs.len());
        for mut run in runs {
            if let Some(head) = run.next()? {
                sources.push((head, run));
            }
        }
        Ok(Merge { sources })
    }
}

impl Iterator for Merge {
    type Item = io::Result<(u128, Sequence)>;

    fn next(&mut self) -> Option<Self::Item> {
        // A handful of sources: looking at all of them is as fast as a heap.
        let (place, _) = self.sources.iter().enumerate().min_by_key(|(_, (head, _))| *head)?;
        let (head, run) = &mut self.sources[place];
        let smallest = *head;
        match run.next() {
            Ok(Some(next)) => *head = next,
            Ok(None) => {
                self.sources.swap_remove(place);
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(smallest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_name() {
        bolero::check!().with_type::<(u64, u64, Vec<u8>)>().for_each(|(first, last, bytes)| {
            let file = RunFile { first: *first, last: *last };
            assert_eq!(RunFile::parse(&file.name()), Some(file));
            let other = format!("{PREFIX}{}", String::from_utf8_lossy(bytes));
            let spelled_otherwise = format!("{PREFIX}0{first}-+{last}");
            for name in [other, spelled_otherwise] {
                assert!(RunFile::parse(&name).is_none_or(|file| file.name() == name), "{name}");
            }
        });
    }

    #[test]
    fn a_run_is_whole_or_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let branch = BranchId::new(1).expect("a branch");
        let name = RunFile { first: 1, last: 9 };
        let ids = (1..=9).map(|number| Ok((u128::from(number) << 90, number)));
        Run::write(directory.path(), branch, name, 9, ids).expect("written");
        let whole = std::fs::read(directory.path().join(name.name())).expect("bytes");
        let is_read = |mut bytes: &[u8]| matches!(Run::read(&mut bytes, branch, name), Ok(Some(_)));
        assert!(is_read(&whole));
        bolero::check!().with_type::<(Vec<u8>, u16, bool)>().for_each(|(bytes, place, cut)| {
            assert!(!is_read(bytes), "bytes that nobody wrote");
            let mut damaged = whole.clone();
            let start = usize::from(*place) % damaged.len();
            let end = (start + bytes.len()).min(damaged.len());
            damaged[start..end].copy_from_slice(&bytes[..end - start]);
            if *cut {
                damaged.truncate(end);
            }
            assert_eq!(is_read(&damaged), damaged == whole);
        });
    }
}
