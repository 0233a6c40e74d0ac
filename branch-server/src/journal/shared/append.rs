//! One group commit, and what became of one whose answer was lost.

use super::{Fence, Outcome, OwnerLink, SharedJournal};
use crate::journal::tide::Mark;
use crate::journal::{AppendError, ChainHash, GroupCommit, PersonalName, ReadError, Row, row};
use crate::planted::{Bug, is_planted};
use std::time::Duration;

/// How long a writer looks for the database after it has lost it. Longer than a standby takes to be promoted; after
/// that the branch is opened anew, when the database is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it waits between two tries: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

impl SharedJournal {
    pub(super) fn append_group(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Fatal(failure.clone()));
        }
        self.check_order(rows)?;
        let closing = GroupCommit::seal(self.branch, self.epoch, self.head, rows, &mut self.seal_buffer);
        let last = self.last_sequence + rows.len() as u64;
        let mut search = Search::default();
        loop {
            let what = match self.try_append(rows, closing, names) {
                Outcome::Done(true) => break,
                Outcome::Unknown(_) if is_planted(Bug::LostIsDone) => break,
                Outcome::Unknown(_) if is_planted(Bug::LostIsUndone) => return Err(AppendError::StorageFull),
                Outcome::Done(false) => return Err(self.fatal(&"the branch is another server's now")),
                Outcome::Full => return Err(AppendError::StorageFull),
                Outcome::Refused(what) => return Err(self.fatal(&what)),
                Outcome::NotDone(what) | Outcome::Unknown(what) => what,
            };
            // Whatever it was: from here on nothing of it happens any more, and then the journal says whether it has.
            if self.find_again(&mut search, what)? == (last, closing.hash) {
                break;
            }
        }
        (self.last_sequence, self.head) = (last, closing.hash);
        // Only now, when the group commit is about to be acknowledged.
        self.tide.mark(Mark { epoch: self.epoch, sequence: last, head: closing.hash });
        Ok(())
    }

    /// Rows that do not follow the last one would tear the journal; that is a bug of the caller's.
    fn check_order(&mut self, rows: &[Row]) -> Result<(), AppendError> {
        if row::follow(self.last_sequence, rows) {
            return Ok(());
        }
        let (count, last) = (rows.len(), self.last_sequence);
        Err(self.fatal(&format_args!("{count} rows were given that do not follow row {last}")))
    }

    /// How this writer knows its branch.
    fn fence(&self) -> Fence {
        Fence { epoch: self.epoch, session: self.session, head: self.last_sequence }
    }

    /// False when the branch's row is not as this writer knows it.
    fn try_append(&mut self, rows: &[Row], closing: GroupCommit, names: &[PersonalName]) -> Outcome<bool> {
        let fence = self.fence();
        match &mut self.link {
            Some(link) => link.append(fence, rows, closing, names),
            None => Outcome::NotDone("there is no connection".to_owned()),
        }
    }

    /// Confirms that no other server has taken the branch over: what this one knows of it is the newest.
    pub(super) fn confirm_ownership(&mut self) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Fatal(failure.clone()));
        }
        let mut search = Search::default();
        loop {
            let fence = self.fence();
            let what = match &mut self.link {
                None => "there is no connection".to_owned(),
                Some(link) => match link.confirm(fence) {
                    Outcome::Done(true) => return Ok(()),
                    Outcome::Done(false) => return Err(self.fatal(&"the branch is another server's now")),
                    Outcome::Full => "there is no room".to_owned(),
                    Outcome::NotDone(what) | Outcome::Unknown(what) | Outcome::Refused(what) => what,
                },
            };
            self.find_again(&mut search, what)?;
        }
    }

    /// Reads by the writer's own connection.
    pub(super) fn reading<T>(
        &mut self,
        read: impl Fn(&mut dyn OwnerLink) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut search = Search::default();
        loop {
            let what = match &mut self.link {
                None => "there is no connection".to_owned(),
                Some(link) => match read(&mut **link) {
                    Err(ReadError::Unavailable(what)) => what,
                    done => return done,
                },
            };
            self.find_again(&mut search, what).map_err(|error| ReadError::Unavailable(error.to_string()))?;
        }
    }

    /// Finds the database again, and says where the journal ends now: nothing that was under way changes that any
    /// more. `what` is what went wrong before.
    ///
    /// # Errors
    /// The branch is another server's, or the search took too long.
    fn find_again(&mut self, search: &mut Search, what: String) -> Result<(u64, ChainHash), AppendError> {
        if self.link.take().is_some() {
            tracing::warn!(branch = %self.branch, error = what, "the database does not answer; it is looked for");
        }
        let began = *search.began.get_or_insert_with(|| self.clock.instant());
        let mut last_word = what;
        loop {
            // At once the first time: most connections are lost because the server restarts, or another took its place.
            if search.tries > 0 {
                let pause = PAUSES.1.min(PAUSES.0 * (1 << search.tries.min(10)));
                let too_long = self.clock.instant().duration_since(began) > PATIENCE;
                if too_long || !self.store.pause(pause) {
                    return Err(self.fatal(&format_args!("the database is away: {last_word}")));
                }
            }
            search.tries += 1;
            match self.reconnect() {
                Ok(Some(end)) => {
                    tracing::info!(branch = %self.branch, tries = search.tries, "the database is there again");
                    return Ok(end);
                }
                Ok(None) => return Err(self.fatal(&"the branch is another server's now")),
                Err(what) => last_word = what,
            }
        }
    }

    /// Connects anew, as the owner under the same epoch; None when the branch has another.
    fn reconnect(&mut self) -> Result<Option<(u64, ChainHash)>, String> {
        let mut link = self.store.connect(self.branch).map_err(|error| error.to_string())?;
        let Some(standing) = link.stand(self.epoch)? else { return Ok(None) };
        let (sequence, head) =
            link.last_row()?.map_or((0, ChainHash::default()), |(sequence, head, _)| (sequence, head));
        if sequence != standing.head {
            return Err(format!("the journal ends at row {sequence}, but {} was written", standing.head));
        }
        if sequence < self.last_sequence {
            // The next opening, which knows of this by the tide, refuses it.
            return Err(format!("the journal ends at row {sequence}, but {} was acknowledged", self.last_sequence));
        }
        self.session = standing.session;
        self.link = Some(link);
        Ok(Some((sequence, head)))
    }

    /// Latches the failure: nothing is written from here on.
    fn fatal(&mut self, error: &dyn std::fmt::Display) -> AppendError {
        let failure = error.to_string();
        self.link = None;
        self.failure = Some(failure.clone());
        AppendError::Fatal(failure)
    }
}

/// How long the database has been looked for on behalf of one statement.
#[derive(Default)]
struct Search {
    began: Option<tokio::time::Instant>,
    tries: u32,
}
