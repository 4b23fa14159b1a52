-- Failed sign-ins are counted here, no longer in Redis: exact across all replicas, also when Redis is unavailable.
-- depends: 0010_codes_die_with_rights

-- migrate: apply

create table failed_sign_ins (
    key bytea primary key,
    times timestamptz [] not null,
    over_at timestamptz not null
);

create index failed_sign_ins_over_at_idx on failed_sign_ins (over_at);

-- migrate: rollback

drop table failed_sign_ins;
