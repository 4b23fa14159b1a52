-- Second factors: authenticator apps, recovery codes, and passkeys.
-- depends: 0005_rights_and_data

-- migrate: apply

create table totp_secrets (
    user_id bigint primary key references users,
    secret text not null,
    last_step bigint not null default 0,
    created_at timestamptz not null default now(),
    confirmed_at timestamptz
);

create table recovery_codes (
    user_id bigint not null references users,
    number smallint not null,
    code_hash text not null,
    used_at timestamptz,
    primary key (user_id, number),
    constraint recovery_codes_number_check check (number between 0 and 9)
);

create table passkeys (
    id bigint generated always as identity primary key,
    user_id bigint not null references users,
    user_handle uuid not null,
    credential_id bytea not null constraint passkeys_credential_key unique,
    public_key bytea not null,
    sign_count bigint not null,
    transports text [] not null,
    name text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    constraint passkeys_name_check check (char_length(name) between 1 and 40)
);

create index passkeys_user_idx on passkeys (user_id);

create table used_challenges (
    challenge bytea primary key,
    expires_at timestamptz not null
);

create index used_challenges_expires_at_idx on used_challenges (expires_at);

create table waiting_sign_ins (
    id uuid primary key default gen_random_uuid(),
    user_id bigint not null references users,
    password_hash text not null,
    tries smallint not null default 0,
    created_at timestamptz not null default now()
);

create index waiting_sign_ins_created_at_idx on waiting_sign_ins (created_at);

create table code_tries (
    user_id bigint primary key references users,
    tries smallint not null,
    last_at timestamptz not null
);

alter table audit drop constraint audit_action_check;

alter table audit add constraint audit_action_check check (
    action in (
        'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
        'grant', 'revoke', 'disable', 'enable', 'delete_account',
        'second_factor_add', 'second_factor_remove', 'recovery_codes', 'recovery_code_use', 'passkey_add',
        'passkey_remove'
    )
);

-- migrate: rollback

alter table audit drop constraint audit_action_check;

alter table audit add constraint audit_action_check check (
    action in (
        'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
        'grant', 'revoke', 'disable', 'enable', 'delete_account'
    )
) not valid;

drop table code_tries;

drop table waiting_sign_ins;

drop table used_challenges;

drop table passkeys;

drop table recovery_codes;

drop table totp_secrets;
