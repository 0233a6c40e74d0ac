use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn branch() -> BranchId {
    BranchId::new(1).expect("a branch")
}

fn open(directory: &Path) -> (TransactionIds, Sequence) {
    TransactionIds::open_with(directory, branch(), 8).expect("an index")
}

/// Inserts as if every run were written at once, so that the files do not depend on threads.
fn insert(ids: &mut TransactionIds, key: TransactionKey, sequence: Sequence) {
    ids.insert([key], sequence);
    ids.finish_flush();
}

fn names(directory: &Path) -> Vec<RunFile> {
    RunFile::list(directory).expect("a directory")
}

proptest! {
    // Every case syncs dozens of files to disk.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_id_is_found_and_no_other(keys in proptest::collection::btree_set(any::<u16>(), 1..400), restart in 0_usize..400) {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut ids, _) = open(directory.path());
        let mut model = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            let sequence = 3 * index as u64 + 1;
            // Ids spread over the whole range, so that merges have something to sort.
            let key = TransactionKey(u128::from(key.reverse_bits()) << 100 | u128::from(*key));
            ids.insert([key], sequence);
            model.insert(key, sequence);
            if index == restart {
                drop(ids);
                let covered;
                (ids, covered) = open(directory.path());
                for (key, sequence) in model.iter().filter(|(_, sequence)| **sequence > covered) {
                    ids.insert([*key], *sequence);
                }
            }
        }
        for (key, sequence) in &model {
            prop_assert_eq!(ids.get(*key).expect("read"), Some(*sequence));
            let absent = TransactionKey(key.0 ^ 1 << 64);
            prop_assert_eq!(ids.get(absent).expect("read"), None);
        }
        ids.finish_flush();
        prop_assert!(ids.runs.len() <= 3 * 4, "{} runs", ids.runs.len());
    }
}

#[test]
fn all_ids_of_one_row_go_into_one_run() {
    // A second id of the row that fills a run would be lost at the next opening, which reads on behind it.
    let directory = tempfile::tempdir().expect("a directory");
    let (mut ids, _) = open(directory.path());
    for number in 1..=7 {
        insert(&mut ids, TransactionKey(number), number as u64);
    }
    ids.insert([TransactionKey(8), TransactionKey(800)], 8);
    ids.finish_flush();
    drop(ids);
    let (ids, covered) = open(directory.path());
    assert_eq!(covered, 8);
    assert_eq!(ids.get(TransactionKey(800)).expect("read"), Some(8));
    let rows: Vec<_> = (1..=8).map(|number| (TransactionKey(number), number as u64)).collect();
    let rows = [rows, vec![(TransactionKey(800), 8)]].concat();
    assert_eq!(check_runs(directory.path(), branch(), &rows), Ok(9));
}

/// An index of 100 ids and the files it makes.
fn filled(directory: &Path) -> Vec<RunFile> {
    let (mut ids, _) = open(directory);
    for number in 1..=100 {
        insert(&mut ids, TransactionKey(u128::from(number) * 0x9e37_79b9_7f4a_7c15), number);
    }
    drop(ids);
    names(directory)
}

#[test]
fn one_wrong_byte_anywhere_sends_the_run_back_to_the_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = filled(directory.path());
    let victim = files.last().expect("a run");
    let path = directory.path().join(victim.name());
    let whole = std::fs::read(&path).expect("bytes");
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(&path, &bytes).expect("written");
        let (_, covered) = open(directory.path());
        assert_eq!(covered, victim.first - 1, "byte {place}");
        assert!(!path.exists(), "byte {place}");
    }
    std::fs::write(&path, &whole).expect("written");
    assert_eq!(open(directory.path()).1, victim.last);
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
    assert_eq!(open(directory.path()).1, victim.first - 1, "cut short");
}

#[test]
fn runs_behind_a_gap_are_made_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = filled(directory.path());
    assert!(files.len() > 1, "{files:?}");
    std::fs::remove_file(directory.path().join(files[0].name())).expect("removed");
    assert_eq!(open(directory.path()).1, 0);
    assert_eq!(names(directory.path()), []);
}

#[test]
fn a_merge_that_was_cut_short_leaves_no_ids_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = filled(directory.path());
    let merged = files[0];
    // As if the sources had not been deleted before the power went.
    let copy = RunFile { first: merged.first, last: merged.first + 7 };
    std::fs::copy(directory.path().join(merged.name()), directory.path().join(copy.name())).expect("copied");
    let (_, covered) = open(directory.path());
    assert_eq!(covered, files.last().expect("a run").last);
    assert_eq!(names(directory.path()), files);
}

#[test]
fn the_runs_claim_the_rows_that_they_cover() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(claimed_sequence(&directory.path().join("absent")), 0);
    let files = filled(directory.path());
    assert_eq!(claimed_sequence(directory.path()), files.last().expect("a run").last);
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture eight_million"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn eight_million_ids_stay_cheap() {
    use std::time::Instant;
    let directory = tempfile::tempdir().expect("a directory");
    let (mut ids, _) = TransactionIds::open(directory.path(), branch()).expect("an index");
    let key = |number: u64| {
        TransactionKey(u128::from_le_bytes(
            blake3::hash(&number.to_le_bytes()).as_bytes()[..16].try_into().expect("16 bytes"),
        ))
    };
    let count = 8_000_000_u64;
    let begin = Instant::now();
    for number in 1..=count {
        ids.insert([key(number)], number);
    }
    println!("insert: {} ns", begin.elapsed().as_nanos() / u128::from(count));
    ids.finish_flush();
    println!("{} runs, {} bytes of memory per 100 ids", ids.runs.len(), ids.memory_bytes() * 100 / count as usize);
    let begin = Instant::now();
    for number in count + 1..=count + 1_000_000 {
        assert_eq!(ids.get(key(number)).expect("read"), None);
    }
    println!("lookup of a new id: {} ns", begin.elapsed().as_nanos() / 1_000_000);
    let begin = Instant::now();
    for number in 1..=100_000 {
        assert_eq!(ids.get(key(number)).expect("read"), Some(number));
    }
    println!("lookup of an old id: {} ns", begin.elapsed().as_nanos() / 100_000);
    drop(ids);
    let begin = Instant::now();
    let (_, covered) = TransactionIds::open(directory.path(), branch()).expect("an index");
    println!("open: {} ms, covers {covered}", begin.elapsed().as_millis());
    assert!(covered <= count);
}

#[test]
fn ids_that_cannot_be_written_stay_in_memory_until_they_can() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("branch");
    std::fs::create_dir(&directory).expect("made");
    let (mut ids, _) = open(&directory);
    std::fs::remove_dir(&directory).expect("removed");
    for number in 1..=20_u64 {
        insert(&mut ids, TransactionKey(u128::from(number)), number);
    }
    ids.finish_flush();
    assert!(ids.runs.is_empty());
    assert!((1..=20).all(|number| ids.get(TransactionKey(number)).expect("read").is_some()));
    std::fs::create_dir(&directory).expect("made");
    for number in 21..=24_u64 {
        insert(&mut ids, TransactionKey(u128::from(number)), number);
    }
    ids.finish_flush();
    assert_eq!(names(&directory), [RunFile { first: 1, last: 24 }]);
    assert!((1..=24).all(|number| ids.get(TransactionKey(number)).expect("read").is_some()));
}
