-- The whole schema, as the migrations leave it; a test compares the two, including comments in function bodies.
-- To change it, add a file in migrations/ and edit this one.

create table sections (
    id smallint generated always as identity primary key,
    name text not null constraint sections_name_key unique,
    version bigint not null default 0,
    constraint sections_name_check check (name ~ '^[A-Z][A-Z0-9]{0,7}$')
);

create table seats (
    id bigint generated always as identity primary key,
    section_id smallint not null references sections,
    number text not null,
    grid_row smallint not null,
    grid_column smallint not null,
    closed boolean not null default false,
    constraint seats_section_number_key unique (section_id, number),
    constraint seats_section_place_key unique (section_id, grid_row, grid_column),
    constraint seats_number_check check (number ~ '^[0-9]{2,4}$'),
    constraint seats_place_check check (grid_row > 0 and grid_column > 0)
);

create table users (
    id bigint generated always as identity primary key,
    username text not null,
    username_key text not null constraint users_username_key unique,
    password_hash text not null,
    created_at timestamptz not null default now(),
    disabled_at timestamptz,
    role text not null default 'user',
    deleted_at timestamptz,
    constraint users_username_check check (char_length(username) between 1 and 50),
    constraint users_role_check check (role in ('user', 'admin')),
    constraint users_deleted_at_check check (deleted_at is null or disabled_at is not null)
);

-- Skeletons of usernames, to detect names that look alike (UTS 39). If accounts share a skeleton, the oldest has it.
create table username_skeletons (
    skeleton text constraint username_skeletons_key primary key,
    user_id bigint not null references users
);

create index username_skeletons_user_idx on username_skeletons (user_id);

create table sessions (
    id uuid primary key default gen_random_uuid(),
    user_id bigint not null references users,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    seen_at timestamptz not null default now(),
    address text not null default '',
    device text not null default '',
    enrolling boolean not null default false,
    constraint sessions_address_check check (char_length(address) <= 64),
    constraint sessions_device_check check (char_length(device) <= 300)
);

create index sessions_user_idx on sessions (user_id);

create index sessions_live_idx on sessions (user_id) where ended_at is null;

-- Users whose sessions or rights changed in the last hour, so that each process can remember the others' sessions. A
-- reader asks for the transactions that its last snapshot did not include yet (`xid`).
create table session_changes (
    user_id bigint not null,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default now()
);

create index session_changes_xid_idx on session_changes (xid);

create function note_session_change() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'users' then
        insert into session_changes (user_id) values (new.id);
    else
        insert into session_changes (user_id) values (old.user_id);
    end if;
    return null;
end
$$;

create trigger sessions_note_change after update of ended_at, expires_at, enrolling on sessions
for each row
when (
    (old.ended_at, old.expires_at, old.enrolling) is distinct from (new.ended_at, new.expires_at, new.enrolling)
)
execute function note_session_change();

create trigger sessions_note_delete after delete on sessions
for each row when (old.ended_at is null)
execute function note_session_change();

create trigger users_note_change after update of username, role, disabled_at on users
for each row
when ((old.username, old.role, old.disabled_at) is distinct from (new.username, new.role, new.disabled_at))
execute function note_session_change();

create table bookings (
    id bigint generated always as identity primary key,
    day date not null,
    seat_id bigint not null references seats,
    user_id bigint not null references users,
    status text not null default 'confirmed',
    created_at timestamptz not null default now(),
    cancelled_at timestamptz,
    constraint bookings_status_check check (status in ('confirmed', 'cancelled')),
    constraint bookings_cancelled_at_check check ((status = 'cancelled') = (cancelled_at is not null))
);

create unique index bookings_day_seat_key on bookings (day, seat_id) where status = 'confirmed';

create unique index bookings_user_day_key on bookings (user_id, day) where status = 'confirmed';

create index bookings_user_id_idx on bookings (user_id, day desc, id desc);

create view booking_details as
select
    bookings.id, bookings.day, bookings.user_id, bookings.status, bookings.created_at,
    seats.id as seat_id, sections.name as section, seats.number, seats.grid_row, seats.grid_column, seats.closed
from bookings
inner join seats on seats.id = bookings.seat_id
inner join sections on sections.id = seats.section_id;

create table generations (
    section_id smallint not null references sections,
    day date not null,
    generation bigint not null,
    primary key (section_id, day),
    constraint generations_generation_check check (generation > 0)
);

create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    action text not null,
    user_id bigint not null,
    session_id uuid,
    booking_id bigint,
    seat_id bigint,
    from_seat_id bigint,
    day date,
    actor_id bigint,
    constraint audit_action_check check (
        action in (
            'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
            'grant', 'revoke', 'disable', 'enable', 'delete_account',
            'second_factor_add', 'second_factor_remove', 'recovery_codes', 'recovery_code_use', 'passkey_add',
            'passkey_remove', 'password_reset_code'
        )
    )
);

create index audit_user_idx on audit (user_id, id);

create function bump_version() returns trigger language plpgsql as $$
begin
    update sections set version = version + 1
    where id in (new.section_id, old.section_id);
    return null;
end
$$;

create trigger seats_bump_version after insert or update or delete on seats
for each row execute function bump_version();

-- Any change to a section changes what its views show, such as its name.
create function bump_own_version() returns trigger language plpgsql as $$
begin
    new.version := greatest(new.version, old.version + 1);
    return new;
end
$$;

create trigger sections_bump_version before update on sections
for each row execute function bump_own_version();

-- Books a free seat that nobody holds, with the fewest neighbours, in the section with the most free seats; returns the
-- booking's id, or null if no seat is free. A function, so that a section is not locked during round trips to the app.
create function book_any_seat(
    the_user bigint, the_day date, the_sections smallint [], held bigint [], the_session uuid
) returns bigint language plpgsql as $$
declare
    the_section smallint;
    the_seat bigint;
    the_booking bigint;
begin
    for the_section in
        select seats.section_id
        from seats
        left join bookings on bookings.seat_id = seats.id and bookings.day = the_day and bookings.status = 'confirmed'
        where
            seats.section_id = any(the_sections)
            and not seats.closed and bookings.id is null and seats.id <> all(held)
        group by seats.section_id
        order by count(*) desc, seats.section_id
    loop
        begin
            insert into generations as g (section_id, day, generation)
            values (the_section, the_day, 1)
            on conflict (section_id, day) do update set generation = g.generation + 1;
            -- From here on nobody else books in this section, and what is read is how it stays.
            with taken as (
                select seats.id, seats.grid_row, seats.grid_column
                from bookings
                inner join seats on seats.id = bookings.seat_id
                where bookings.day = the_day and bookings.status = 'confirmed' and seats.section_id = the_section
            )
            select seats.id into the_seat
            from seats
            where
                seats.section_id = the_section and not seats.closed and seats.id <> all(held)
                and not exists (select from taken where taken.id = seats.id)
            order by (
                select count(*)
                from taken
                where taken.grid_row = seats.grid_row and abs(taken.grid_column - seats.grid_column) = 1
            ), seats.number
            limit 1;
            if the_seat is null then
                raise no_data_found;
            end if;
            insert into bookings (day, seat_id, user_id)
            values (the_day, the_seat, the_user)
            returning id into the_booking;
            insert into audit (action, user_id, session_id, booking_id, seat_id, day)
            values ('book', the_user, the_session, the_booking, the_seat, the_day);
            return the_booking;
        exception when no_data_found then
            null; -- it filled up meanwhile, and is let go before the next is tried: no two wait for each other
        end;
    end loop;
    return null;
end
$$;

-- Refuses bookings for disabled or deleted accounts, even in the second before every process knows of the change.
create function refuse_disabled() returns trigger language plpgsql as $$
begin
    perform from users where id = new.user_id and disabled_at is null for share;
    if not found then
        raise exception 'the account is disabled'
        using errcode = 'check_violation', constraint = 'bookings_user_counts';
    end if;
    return new;
end
$$;

create trigger bookings_user_counts before insert on bookings
for each row execute function refuse_disabled();

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit trail is append-only' using errcode = 'restrict_violation';
end
$$;

create trigger audit_append_only before update or delete on audit
for each row execute function refuse_change();

create trigger audit_no_truncate before truncate on audit
for each statement execute function refuse_change();


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

-- The second factor: a TOTP secret and the time-step of the last code used; valid once a code has confirmed it.
create table totp_secrets (
    user_id bigint primary key references users,
    secret text not null,
    last_step bigint not null default 0,
    created_at timestamptz not null default now(),
    confirmed_at timestamptz
);

-- Only hashes are stored; a code begins with its number.
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

-- Challenges that passkeys have signed, kept until they expire, so that none is accepted twice.
create table used_challenges (
    challenge bytea primary key,
    expires_at timestamptz not null
);

create index used_challenges_expires_at_idx on used_challenges (expires_at);

-- Sign-ins with a correct password that wait for the second factor.
create table waiting_sign_ins (
    id uuid primary key default gen_random_uuid(),
    user_id bigint not null references users,
    password_hash text not null,
    tries smallint not null default 0,
    created_at timestamptz not null default now()
);

create index waiting_sign_ins_created_at_idx on waiting_sign_ins (created_at);

-- Counts of recent failed attempts at codes.
create table code_tries (
    user_id bigint primary key references users,
    tries smallint not null,
    last_at timestamptz not null
);

-- Counters of sign-ins that failed or are in progress, one per account and one per address; the key is a keyed hash of
-- the name or address. `times` has the latest attempts, newest first; after `over_at`, none of them counts any more.
create table failed_sign_ins (
    key bytea primary key,
    times timestamptz [] not null,
    over_at timestamptz not null
);

create index failed_sign_ins_over_at_idx on failed_sign_ins (over_at);

-- Password reset codes, hashed. created_by is the administrator who made the code; null for the operator's command.
create table password_resets (
    user_id bigint primary key references users,
    code_hash text not null,
    expires_at timestamptz not null,
    created_by bigint references users
);
