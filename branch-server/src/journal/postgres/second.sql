-- Format 2: what group commits are given as. Types of their own, so that tables may get columns while servers of an
-- earlier version write.

CREATE TYPE florin.given_fence AS (
    branch  integer,
    epoch   bigint,
    session bigint,
    head    bigint,
    last    bigint -- the head from then on
);

CREATE TYPE florin.given_row AS (
    branch          integer,
    sequence        bigint,
    booked_at       bigint,
    transaction_id  bytea,
    fingerprint     bytea,
    kind            text,
    debit_account   bigint,
    credit_account  bigint,
    amount          bigint,
    currency        text,
    debit_balance   bigint,
    credit_balance  bigint,
    debit_previous  bigint,
    credit_previous bigint,
    customer_id     bigint,
    principal       text,
    channel         text,
    detail          text,
    epoch           bigint,
    hash            bytea
);

CREATE TYPE florin.given_name AS (
    branch      integer,
    customer_id bigint,
    name        text,
    digest_key  bytea
);
