-- The whole schema as it is after every migration; a test compares the two.
-- Change it together with a new file in migrations/.

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
    constraint users_username_check check (char_length(username) between 3 and 50)
);

create table sessions (
    id uuid primary key default gen_random_uuid(),
    user_id bigint not null references users,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz
);

create index sessions_user_idx on sessions (user_id);

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
    constraint audit_action_check check (
        action in ('register', 'sign_in', 'sign_out', 'book', 'move', 'cancel')
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
