-- name: read_generations(day)
-- The generation of every section on a day: read it first, then the cache, then the seats. It grows with every change of
-- its bookings (generations) and of its seats (version); neither ever shrinks, so their sum names one state only.
select
    sections.id,
    sections.name,
    sections.version + coalesce(generations.generation, 0) as generation
from sections
left join generations on generations.section_id = sections.id and generations.day = :day
order by sections.name;

-- name: read_seats(section_ids, day)
-- The seats of the given sections with who has each on the day, in the order of the map; and the generation of the same
-- moment, so that one generation never names two states.
select
    seats.id,
    seats.section_id,
    sections.name as section,
    seats.number,
    seats.grid_row,
    seats.grid_column,
    seats.closed,
    users.id as user_id,
    users.username,
    sections.version + coalesce(generations.generation, 0) as generation
from seats
inner join sections on sections.id = seats.section_id
left join generations on generations.section_id = sections.id and generations.day = :day
left join bookings on bookings.seat_id = seats.id and bookings.day = :day and bookings.status = 'confirmed'
left join users on users.id = bookings.user_id
where seats.section_id = any(:section_ids::smallint [])
order by sections.name, seats.grid_row, seats.grid_column;

-- name: find_seat(seat_id)^
-- One seat with its section, to explain a refusal or to show its panel.
select
    seats.id,
    seats.section_id,
    sections.name as section,
    seats.number,
    seats.grid_row,
    seats.grid_column,
    seats.closed
from seats
inner join sections on sections.id = seats.section_id
where seats.id = :seat_id;

-- name: find_sitters(seat_ids, days)
-- The ids of the users who have the seats, each on its day: losers learn it here without queueing behind the winners.
select seat_id, day, user_id
from bookings join unnest(:seat_ids::bigint[], :days::date[]) as wanted(seat_id, day) using (seat_id, day)
where status = 'confirmed';

-- name: book_seat(seat_id, user_id, day, session_id)^
-- The whole booking in one statement. It locks the user's account, then the section's generation (which queues the
-- section's writers), then the booking: the order of every transaction, so that none waits for another in a circle.
-- The unique indexes decide who gets the seat. Then follows the audit row.
-- No row when there is no such seat, or it is closed.
with bumped as (
    insert into generations as g (section_id, day, generation)
    select seats.section_id, :day, 1
    from seats
    cross join (select from users where id = :user_id for share) as owner
    where seats.id = :seat_id and not seats.closed
    on conflict (section_id, day) do update set generation = g.generation + 1
    returning section_id
),
booked as (
    insert into bookings (day, seat_id, user_id)
    select :day, :seat_id, :user_id
    from bumped
    returning id, day, seat_id, user_id, status, created_at
),
audited as (
    insert into audit (action, user_id, session_id, booking_id, seat_id, day)
    select 'book', booked.user_id, :session_id, booked.id, booked.seat_id, booked.day
    from booked
)
select
    booked.id, booked.day, booked.user_id, booked.status, booked.created_at,
    seats.id as seat_id, sections.name as section, seats.number, seats.grid_row, seats.grid_column, seats.closed
from booked
inner join seats on seats.id = booked.seat_id
inner join sections on sections.id = seats.section_id;

-- name: bump_generations(section_ids, day)!
-- Grow the generation of the given sections on a day, in the order of their ids; holds them until the end of the
-- transaction, so everything read after it stays true of these sections.
insert into generations as g (section_id, day, generation)
select section_id, :day, 1
from unnest(:section_ids::smallint []) as given (section_id)
order by section_id
on conflict (section_id, day) do update set generation = g.generation + 1;

-- name: book_any_seat(user_id, day, section_ids, held, session_id)$
-- The id of a booking of a free seat that nobody holds, in the emptiest of the sections; null when there is none.
-- Like every transaction it locks the user's account first.
select book_any_seat(owner.id, :day, :section_ids::smallint [], :held::bigint [], :session_id)
from (select id from users where id = :user_id for share) as owner;

-- name: any_free_seat(section_ids, day, held)$
-- Whether one of the sections has a free seat that nobody holds: losers learn it here without queueing behind the winners.
select exists (
    select from seats
    where
        seats.section_id = any(:section_ids::smallint [])
        and not seats.closed
        and seats.id <> all(:held::bigint [])
        and not exists (
            select from bookings
            where bookings.seat_id = seats.id and bookings.day = :day and bookings.status = 'confirmed'
        )
);

-- name: find_booking_of_day(user_id, day)^
-- The user's confirmed booking on a day.
select * from booking_details
where user_id = :user_id and day = :day and status = 'confirmed';

-- name: find_booking(booking_id, user_id)^
-- One booking of the user, whatever its status; another user's is not found.
select * from booking_details
where id = :booking_id and user_id = :user_id;

-- name: lock_booking(booking_id, user_id)^
-- The user's confirmed booking, locked: nobody moves or cancels it until this transaction ends. The account is locked
-- before it, as everywhere. It joins no table that a move changes, since the row would be lost when the booking was moved
-- while this statement waited for it.
with owner as materialized (
    select id
    from users
    where id = :user_id
    for share
)
select bookings.id, bookings.day, bookings.seat_id
from bookings
inner join owner on owner.id = bookings.user_id
where bookings.id = :booking_id and bookings.status = 'confirmed'
for update of bookings;

-- name: cancel_booking(booking_id, session_id)!
-- End a locked booking and write it down.
with cancelled as (
    update bookings set status = 'cancelled', cancelled_at = now()
    where id = :booking_id
    returning id, day, seat_id, user_id
)
insert into audit (action, user_id, session_id, booking_id, seat_id, day)
select 'cancel', user_id, :session_id, id, seat_id, day
from cancelled;

-- name: move_booking(booking_id, seat_id, from_seat_id, session_id)!
-- Give a locked booking another seat and write it down; the unique index decides, and the first seat is kept if it refuses.
with moved as (
    update bookings set seat_id = :seat_id
    where id = :booking_id
    returning id, day, seat_id, user_id
)
insert into audit (action, user_id, session_id, booking_id, seat_id, from_seat_id, day)
select 'move', user_id, :session_id, id, seat_id, :from_seat_id, day
from moved;

-- name: list_confirmed_bookings(user_id, first_day, last_day)
-- The user's confirmed bookings between two days, both included, soonest first (one a day, so the days bound it).
select * from booking_details
where
    user_id = :user_id
    and day between :first_day and :last_day
    and status = 'confirmed'
order by day;

-- name: list_ended_bookings(user_id, day, rows)
-- The user's bookings that are over or cancelled, latest first, this many at most.
select * from booking_details
where user_id = :user_id and (day < :day or status = 'cancelled')
order by day desc, id desc
limit :rows;

-- name: list_bookings(user_id, first_day, last_day, status, after_day, after_id, rows)
-- A page of the user's bookings between two days, by day and id, after the last one of the page before; with one
-- status, or all where it is null; all rows where their number is null.
select * from booking_details
where
    user_id = :user_id
    and day between :first_day and :last_day
    and (:status::text is null or status = :status)
    and (day, id) > (:after_day::date, :after_id::bigint)
order by day, id
limit :rows;

-- name: cancel_coming_bookings(user_id, first_day, session_id)
-- End the user's bookings from a day on, and write each down; the generations of their sections grow in the order of
-- day and section, before anything else.
with coming as (
    select bookings.id, bookings.day, bookings.seat_id, seats.section_id
    from bookings
    inner join seats on seats.id = bookings.seat_id
    where bookings.user_id = :user_id and bookings.day >= :first_day and bookings.status = 'confirmed'
),
bumped as (
    insert into generations as g (section_id, day, generation)
    select section_id, day, 1
    from coming
    order by day, section_id
    on conflict (section_id, day) do update set generation = g.generation + 1
    returning day
),
cancelled as (
    update bookings set status = 'cancelled', cancelled_at = now()
    from coming
    where bookings.id = coming.id and (select count(*) from bumped) >= 0
    returning bookings.id, bookings.day, bookings.seat_id, bookings.user_id
),
audited as (
    insert into audit (action, user_id, session_id, booking_id, seat_id, day)
    select 'cancel', user_id, :session_id, id, seat_id, day
    from cancelled
)
select day
from cancelled
order by day;

-- name: try_idempotency_lock(user_id, key)$
-- Whether no other request with this key is being answered now; held until the end of the transaction.
select pg_try_advisory_xact_lock(hashtextextended(:user_id::bigint || ':' || :key::text, 0));

-- name: find_answer(user_id, key)^
-- The first answer to a request with this key.
select fingerprint, status, body
from idempotency_keys
where user_id = :user_id and key = :key;

-- name: keep_answer(user_id, key, fingerprint, status, body)!
-- Keep the first answer, in the transaction of what it did.
insert into idempotency_keys (user_id, key, fingerprint, status, body)
values (:user_id, :key, :fingerprint, :status, :body);

-- name: prune_bookings(before, rows)$
-- Forget bookings of days before this one; how many went, a batch at most.
with old as (
    select id
    from bookings
    where day < :before
    limit :rows
),
pruned as (
    delete from bookings
    using old
    where bookings.id = old.id
    returning bookings.id
)
select count(*)
from pruned;

-- name: prune_idempotency_keys(days, rows)$
-- Forget the answers to keys that are older than so many days; how many went, a batch at most.
with old as (
    select user_id, key
    from idempotency_keys
    where created_at < now() - make_interval(days => :days::integer)
    limit :rows
),
pruned as (
    delete from idempotency_keys
    using old
    where idempotency_keys.user_id = old.user_id and idempotency_keys.key = old.key
    returning idempotency_keys.key
)
select count(*)
from pruned;
