//! The one statement by which group commits are written, and what became of it.

use super::columns::COLUMNS;
use super::given::{Fences, Names, Rows};
use super::number;
use super::store::{Connection, PostgresStore, causes};
use crate::journal::Sequence;
use crate::journal::shared::{Fence, Outcome};
use bank_proto::BranchId;
use std::collections::BTreeSet;
use tokio_postgres::error::{Severity, SqlState};

/// One group commit.
pub(super) struct Order {
    pub(super) branch: BranchId,
    pub(super) fence: Fence,
    /// The last row after it.
    pub(super) last: Sequence,
    pub(super) rows: Rows,
    pub(super) names: Names,
}

/// A connection for group commits, and its prepared statements.
pub(super) struct Line {
    connection: Connection,
    append: tokio_postgres::Statement,
    append_with_names: tokio_postgres::Statement,
}

impl Line {
    /// Writes orders by an idle line, or by a new one: what became of each, and the line if it has proved to be of use.
    /// An idle line may lead to a primary whose place another has taken meanwhile, and know nothing of a later owner or
    /// session: that a branch is not as its writer knows it is believed of a new line only.
    pub(super) fn write_by(
        store: &PostgresStore,
        idle: Option<Line>,
        orders: &[&Order],
    ) -> (Option<Line>, Vec<Outcome<bool>>) {
        let is_new = idle.is_none();
        let mut line = match idle.map_or_else(|| Line::connect(store), Ok) {
            Ok(line) => line,
            Err(what) => return (None, orders.iter().map(|_| Outcome::NotDone(what.clone())).collect()),
        };
        let mut outcomes = line.write(orders);
        if orders.len() > 1 && matches!(outcomes.first(), Some(Outcome::Refused(_))) {
            // One of them is what the database will never take, and the others have nothing to do with it.
            outcomes = orders.iter().flat_map(|order| line.write(&[*order])).collect();
        }
        let is_of_use = outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(true) | Outcome::Full));
        let believed = |outcome| match outcome {
            Outcome::Done(false) if !is_new => {
                Outcome::NotDone("an older connection knows the branch otherwise".to_owned())
            }
            Outcome::Refused(what) if !is_new => Outcome::NotDone(what),
            outcome => outcome,
        };
        (Some(line).filter(|_| is_of_use), outcomes.into_iter().map(believed).collect())
    }

    fn connect(store: &PostgresStore) -> Result<Line, String> {
        let connection = store.connect().map_err(|error| error.to_string())?;
        Line::prepare(connection).map_err(|error| causes(&error))
    }

    fn prepare(mut connection: Connection) -> Result<Line, tokio_postgres::Error> {
        let client = connection.client();
        let append = client.prepare(&statement(false))?;
        let append_with_names = client.prepare(&statement(true))?;
        Ok(Line { connection, append, append_with_names })
    }

    /// One statement, and what became of each order by it.
    fn write(&mut self, orders: &[&Order]) -> Vec<Outcome<bool>> {
        let (mut fences, mut rows, mut names) = (Fences::default(), Rows::default(), Names::default());
        for order in orders {
            fences.push(order.branch, order.fence, order.last);
            rows.append(&order.rows);
            names.append(&order.names);
        }
        let mut parameters = vec![fences.parameter(), rows.parameter()];
        let mut statement = &self.append;
        if !names.is_empty() {
            parameters.push(names.parameter());
            statement = &self.append_with_names;
        }
        self.connection.client().take_warning();
        let said = self.connection.client().query(statement, &parameters);
        let same = |outcome: Outcome<bool>| vec![outcome; orders.len()];
        match said {
            // It no longer waits for its standbys: what was committed may stand on its own disk alone.
            Ok(_) if self.connection.client().take_warning() => {
                same(Outcome::Unknown("it may be on one disk only".to_owned()))
            }
            Ok(done) => {
                let done: BTreeSet<i32> = done.iter().map(|row| row.get(0)).collect();
                orders.iter().map(|order| Outcome::Done(done.contains(&number(order.branch)))).collect()
            }
            Err(error) => same(outcome(&error)),
        }
    }
}

/// The one statement: each branch's row moves on if it is as its writer knows it, and rows are inserted for those
/// branches only. It says which they are.
fn statement(with_names: bool) -> String {
    let names = if with_names {
        ", named AS (INSERT INTO florin.personal_name (branch, customer_id, name, digest_key) \
             SELECT given.* FROM unnest($3::florin.given_name[]) AS given \
             WHERE given.branch = ANY (ARRAY(SELECT branch FROM fence)) \
             ON CONFLICT (branch, customer_id) DO UPDATE SET name = excluded.name, digest_key = excluded.digest_key)"
    } else {
        ""
    };
    format!(
        "WITH fence AS (UPDATE florin.branch AS standing SET head = given.last \
             FROM unnest($1::florin.given_fence[]) AS given \
             WHERE standing.branch = given.branch AND standing.epoch = given.epoch \
                 AND standing.session = given.session AND standing.head = given.head \
             RETURNING standing.branch), \
         written AS (INSERT INTO florin.journal (branch, {COLUMNS}) \
             SELECT given.* FROM unnest($2::florin.given_row[]) AS given \
             WHERE given.branch = ANY (ARRAY(SELECT branch FROM fence))){names} \
         SELECT branch FROM fence"
    )
}

/// What a failed statement has done. The server's word that it failed is trusted; the end of a connection says nothing.
pub(super) fn outcome<T>(error: &tokio_postgres::Error) -> Outcome<T> {
    let what = causes(error);
    let Some(said) = error.as_db_error() else { return Outcome::Unknown(what) };
    if said.parsed_severity() != Some(Severity::Error) {
        return Outcome::Unknown(what);
    }
    let code = said.code();
    // Classes: 08 connection, 40 rolled back, 53 resources, 55 and 57 the operator, 58 the system, 25006 a standby.
    let passes = ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.code().starts_with(class));
    match code {
        _ if *code == SqlState::DISK_FULL => Outcome::Full,
        _ if passes || *code == SqlState::READ_ONLY_SQL_TRANSACTION => Outcome::NotDone(what),
        _ => Outcome::Refused(what),
    }
}
