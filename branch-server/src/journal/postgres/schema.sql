-- The tables of a bank in PostgreSQL, format 1. Times are microseconds since 1970 in UTC, money is in minor units of
-- the row's currency: both as in the journal of a SQLite store, whose columns these are.

CREATE TABLE florin.bank (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    branches integer NOT NULL
);

CREATE TABLE florin.branch (
    branch  integer PRIMARY KEY,
    epoch   bigint NOT NULL DEFAULT 0, -- raised by whoever takes the branch over
    session bigint NOT NULL DEFAULT 0, -- counts the connections of its owner
    head    bigint NOT NULL DEFAULT 0, -- the last row of its journal
    owner   integer                    -- the ordinal of its branch server; null: nobody's
) WITH (fillfactor = 20); -- this row changes with every group commit: its versions stay on one page

CREATE TABLE florin.journal (
    branch          integer NOT NULL,
    sequence        bigint NOT NULL,
    booked_at       bigint NOT NULL,
    transaction_id  bytea NOT NULL,
    fingerprint     bytea,
    kind            text NOT NULL,
    debit_account   bigint,
    credit_account  bigint,
    amount          bigint NOT NULL,
    currency        text,
    debit_balance   bigint NOT NULL,
    credit_balance  bigint NOT NULL,
    debit_previous  bigint NOT NULL,
    credit_previous bigint NOT NULL,
    customer_id     bigint,
    principal       text NOT NULL,
    channel         text NOT NULL,
    detail          text,             -- compact JSON
    epoch           bigint,           -- with hash: on the last row of each group commit
    hash            bytea,
    PRIMARY KEY (branch, sequence)
) PARTITION BY LIST (branch);

CREATE FUNCTION florin.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$;

CREATE TRIGGER journal_is_append_only BEFORE UPDATE OR DELETE ON florin.journal
    FOR EACH ROW EXECUTE FUNCTION florin.refuse_change();

CREATE TABLE florin.personal_name (
    branch      integer NOT NULL,
    customer_id bigint NOT NULL,
    name        text NOT NULL,
    digest_key  bytea NOT NULL,
    PRIMARY KEY (branch, customer_id)
);

CREATE TABLE florin.currency (
    code     text PRIMARY KEY,
    decimals integer NOT NULL
);

-- Files that are made from the journal and may be deleted: snapshots of the books, runs of ids. In parts.
CREATE TABLE florin.derived (
    branch integer NOT NULL,
    name   text NOT NULL,
    part   integer NOT NULL,
    parts  integer NOT NULL,
    bytes  bytea NOT NULL,
    PRIMARY KEY (branch, name, part)
);
ALTER TABLE florin.derived ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The branch servers that are there, as each says of itself.
CREATE TABLE florin.server (
    ordinal  integer PRIMARY KEY,
    instance bigint NOT NULL,           -- drawn at its start
    beats    bigint NOT NULL DEFAULT 0, -- grows as long as it is there
    leaving  boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20);

-- 4 digits of the branch, 10 of the account, 2 check digits (ISO 7064 MOD 97-10).
CREATE FUNCTION florin.account_number(branch integer, account bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT lpad(digits::text, 14, '0') || lpad((98 - digits * 100 % 97)::text, 2, '0')
    FROM (SELECT branch * 10000000000 + account AS digits) AS number WHERE account IS NOT NULL
$$;

CREATE VIEW florin.statement AS
WITH unit AS (SELECT code, decimals, (10 ^ decimals)::bigint AS unit FROM florin.currency)
SELECT
    journal.branch,
    journal.sequence,
    to_timestamp(journal.booked_at / 1000000.0) AS booked_at,
    journal.branch || '-' || encode(journal.transaction_id, 'hex') AS transaction_id,
    journal.kind,
    florin.account_number(journal.branch, journal.debit_account) AS debit_account,
    florin.account_number(journal.branch, journal.credit_account) AS credit_account,
    round(journal.amount::numeric / unit.unit, unit.decimals) AS amount,
    journal.currency,
    round(journal.debit_balance::numeric / unit.unit, unit.decimals) AS debit_balance,
    round(journal.credit_balance::numeric / unit.unit, unit.decimals) AS credit_balance,
    -- A NUL in a text is one that PostgreSQL has no place for.
    CASE WHEN position('\u0000' IN journal.detail) = 0 THEN journal.detail::json ->> 'memo' END AS memo,
    journal.principal,
    journal.channel
FROM florin.journal LEFT JOIN unit ON unit.code = journal.currency
WHERE journal.debit_account IS NOT NULL AND journal.credit_account IS NOT NULL;
