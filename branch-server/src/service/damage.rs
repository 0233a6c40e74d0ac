//! Why a branch does not serve, for everybody who asks: what and where in the bank's own terms. Paths, and
//! what the store or the system said, stay in the log.

use crate::journal::{OpenError, ReadError, Sequence};
use crate::teller::opening::OpenBranchError;

/// The sentence for callers; its subject is the branch.
pub(crate) fn told_to_callers(error: &OpenBranchError) -> String {
    match error {
        OpenBranchError::Journal(error) => journal(error),
        OpenBranchError::Read(ReadError::Damaged { sequence, .. }) => row(*sequence),
        OpenBranchError::Read(ReadError::Unavailable(_)) => "the database cannot be used now".to_owned(),
        OpenBranchError::Read(ReadError::Store(_)) => "its journal cannot be read".to_owned(),
        OpenBranchError::Row(error) => row(error.sequence),
        OpenBranchError::Chain => "its journal does not end where its chain does".to_owned(),
        OpenBranchError::Files(_) => "files beside its journal cannot be used".to_owned(),
    }
}

fn row(sequence: Sequence) -> String {
    format!("row {sequence} of its journal is not what was written")
}

fn journal(error: &OpenError) -> String {
    let text = match error {
        OpenError::RowsMissing { found, known, .. } => {
            return format!("its journal ends at row {found}, but row {known} was acknowledged");
        }
        OpenError::Lock(_) => "its directory cannot be locked",
        OpenError::Io { .. } => "its files cannot be used",
        OpenError::Store { .. } | OpenError::System { .. } => "its journal cannot be opened",
        OpenError::Database { .. } => "the database cannot be used now",
        OpenError::Claimed { .. } => "another server took it over",
        OpenError::Busy { .. } => "another program holds its journal open",
        OpenError::Damaged { .. } => "its journal is damaged",
        OpenError::NewerFormat { .. } => "its journal was made by a newer version",
        OpenError::NotAJournal { .. } => "its data is not a branch's journal",
        OpenError::OtherBranch { .. } => "its data is of another branch",
        OpenError::OtherBranches { .. } => "its data is of a bank with another number of branches",
        OpenError::Retired { .. } => "it moved to another server, where its books go on",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_learn_what_and_where_but_no_path_and_no_word_of_the_store() {
        let path = || "/secret/branch-0001/journal.db".into();
        let what = || "SQLITE_CORRUPT: database disk image is malformed".to_owned();
        let told = |error: OpenError| told_to_callers(&error.into());
        assert_eq!(told(OpenError::Damaged { path: path(), what: what() }), "its journal is damaged");
        assert_eq!(told(OpenError::Store { path: path(), what: what() }), "its journal cannot be opened");
        assert_eq!(
            told(OpenError::RowsMissing { path: path(), found: 16, known: 17 }),
            "its journal ends at row 16, but row 17 was acknowledged"
        );
        assert_eq!(
            told(OpenError::OtherBranch { path: path(), found: 7, expected: 1 }),
            "its data is of another branch"
        );
        let row = OpenBranchError::Read(ReadError::Damaged { sequence: 17, what: what() });
        assert_eq!(told_to_callers(&row), "row 17 of its journal is not what was written");
        let row = crate::teller::RowError { sequence: 17, what: what() };
        assert_eq!(told_to_callers(&row.into()), "row 17 of its journal is not what was written");
        assert_eq!(told_to_callers(&ReadError::Store(what()).into()), "its journal cannot be read");
    }
}
