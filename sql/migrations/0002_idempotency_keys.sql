-- The first answer to a request with an idempotency key, stored in the transaction that handles it.
-- depends: 0001_first_schema

-- migrate: apply

create table idempotency_keys (
    user_id bigint not null references users,
    key text not null,
    fingerprint text not null,
    status smallint not null,
    body text not null,
    created_at timestamptz not null default now(),
    primary key (user_id, key),
    constraint idempotency_keys_key_check check (char_length(key) between 1 and 255)
);

create index idempotency_keys_created_at_idx on idempotency_keys (created_at);

-- migrate: rollback

drop table idempotency_keys;
