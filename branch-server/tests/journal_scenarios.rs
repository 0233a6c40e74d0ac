//! The embedded journal on a real disk: what it keeps, what it refuses, and what it does when the
//! disk, the power or another program fails it. Each file beside this one is one scenario.

#[path = "journal_scenarios/bounded_wal.rs"]
mod bounded_wal;
#[path = "journal_scenarios/copying.rs"]
mod copying;
#[path = "journal_scenarios/crash_images.rs"]
mod crash_images;
#[path = "journal_scenarios/damaged_wal.rs"]
mod damaged_wal;
#[path = "journal_scenarios/failing_sync.rs"]
mod failing_sync;
#[path = "journal_scenarios/full_disk.rs"]
mod full_disk;
#[path = "journal_scenarios/large_commits.rs"]
mod large_commits;
#[path = "journal_scenarios/lost_tail.rs"]
mod lost_tail;
#[path = "journal_scenarios/other_programs.rs"]
mod other_programs;
#[path = "journal_scenarios/reading.rs"]
mod reading;
#[path = "journal_scenarios/reopening.rs"]
mod reopening;
#[path = "journal_scenarios/retiring.rs"]
mod retiring;
#[path = "journal_scenarios/rows.rs"]
mod rows;
#[path = "journal_scenarios/small_disk.rs"]
mod small_disk;
#[path = "journal_scenarios/speed.rs"]
mod speed;
#[path = "journal_scenarios/wal_room.rs"]
mod wal_room;
