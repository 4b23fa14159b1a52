-- name: read_generations(days)
-- Every section's generation on each of the days. Read it first, then the cache, then the seats. It is the sum of two counters
-- that only grow, one of changes to bookings (generations) and one of changes to seats (version), so each value is one
-- state.
select
    wanted.day,
    sections.id,
    sections.name,
    sections.version + coalesce(generations.generation, 0) as generation
from sections
cross join unnest(:days::date []) as wanted (day)
left join generations on generations.section_id = sections.id and generations.day = wanted.day
order by sections.name;

-- name: read_seats(section_ids, days)
-- The seats of sections, each on its day, in map order, with who has each, and the generation from the same snapshot, so
-- that one generation never stands for two states.
select
    wanted.day,
    seats.id,
    seats.section_id,
    sections.name as section,
    seats.number,
    seats.grid_row,
    seats.grid_column,
    seats.closed,
    users.id as user_id,
    users.username,
    bookings.id as booking_id,
    sections.version + coalesce(generations.generation, 0) as generation
from unnest(:section_ids::smallint [], :days::date []) as wanted (section_id, day)
inner join sections on sections.id = wanted.section_id
inner join seats on seats.section_id = sections.id
left join generations on generations.section_id = sections.id and generations.day = wanted.day
left join bookings on bookings.seat_id = seats.id and bookings.day = wanted.day and bookings.status = 'confirmed'
left join users on users.id = bookings.user_id
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
-- The ids of the users who have the seats, each on its day. It takes no lock, so that those who lost a race need not
-- queue behind the winners.
select seat_id, day, user_id
from bookings join unnest(:seat_ids::bigint[], :days::date[]) as wanted(seat_id, day) using (seat_id, day)
where status = 'confirmed';

-- name: book_seat(seat_id, user_id, day, session_id)^
-- The whole booking in one statement. It locks the user's account, then the section's generation (so writers of a
-- section queue), then inserts the booking. Every transaction locks in this order, so that no deadlock can arise. The
-- unique indexes decide who gets the seat. The audit row follows. No row if the seat does not exist or is closed.
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
-- Increment the sections' generations on a day, in the order of their ids. This locks the sections until the end of the
-- transaction, so that what is read afterwards stays true.
insert into generations as g (section_id, day, generation)
select section_id, :day, 1
from unnest(:section_ids::smallint []) as given (section_id)
order by section_id
on conflict (section_id, day) do update set generation = g.generation + 1;

-- name: book_any_seat(user_id, day, section_ids, held, session_id)$
-- Book a free seat that nobody holds in the emptiest of the sections; the booking's id, or null if there is none. Like
-- every transaction, lock the user's account first.
select book_any_seat(owner.id, :day, :section_ids::smallint [], :held::bigint [], :session_id)
from (select id from users where id = :user_id for share) as owner;

-- name: any_free_seat(section_ids, day, held)$
-- Whether one of the sections has a free seat that nobody holds. It takes no lock, so that those who lost a race need
-- not queue behind the winners.
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

-- name: find_last_booking_of_day(user_id, day)^
-- The booking that the user made last for a day, whatever its status. A user has one confirmed booking a day, so the
-- last one was made after all others were cancelled.
select * from booking_details
where user_id = :user_id and day = :day
order by id desc
limit 1;

-- name: find_booking(booking_id, user_id)^
-- One of the user's bookings, whatever its status; another user's booking is not found.
select * from booking_details
where id = :booking_id and user_id = :user_id;

-- name: lock_booking(booking_id, user_id)^
-- Lock one of the user's bookings, whatever its status, so that nobody moves or cancels it until the transaction ends;
-- lock the account first, as everywhere. Do not join tables that a move changes: if the booking were moved while this
-- statement waits, the join would lose the row.
with owner as materialized (
    select id
    from users
    where id = :user_id
    for share
)
select bookings.id, bookings.day, bookings.seat_id, bookings.status
from bookings
inner join owner on owner.id = bookings.user_id
where bookings.id = :booking_id
for update of bookings;

-- name: cancel_booking(booking_id, session_id)!
-- Cancel a locked booking, with an audit row.
with cancelled as (
    update bookings set status = 'cancelled', cancelled_at = now()
    where id = :booking_id
    returning id, day, seat_id, user_id
)
insert into audit (action, user_id, session_id, booking_id, seat_id, day)
select 'cancel', user_id, :session_id, id, seat_id, day
from cancelled;

-- name: move_booking(booking_id, seat_id, from_seat_id, session_id)!
-- Move a locked booking to another seat, with an audit row; the unique index decides, and a refusal keeps the first
-- seat.
with moved as (
    update bookings set seat_id = :seat_id
    where id = :booking_id
    returning id, day, seat_id, user_id
)
insert into audit (action, user_id, session_id, booking_id, seat_id, from_seat_id, day)
select 'move', user_id, :session_id, id, seat_id, :from_seat_id, day
from moved;

-- name: find_last_change(user_id, booking_id, seconds)^
-- The last time that the user made or moved a booking of theirs, if that was less than `seconds` ago.
select seat_id, from_seat_id
from audit
where
    user_id = :user_id
    and booking_id = :booking_id
    and action in ('book', 'move')
    and at > clock_timestamp() - make_interval(secs => :seconds)
order by id desc
limit 1;

-- name: list_confirmed_bookings(user_id, first_day, last_day)
-- The user's confirmed bookings between two days, inclusive, soonest first. Needs no limit: there is one a day at most.
select * from booking_details
where
    user_id = :user_id
    and day between :first_day and :last_day
    and status = 'confirmed'
order by day;

-- name: count_free_seats(first_day, last_day, section)
-- How many seats are free on each day, and how many are not closed, in one section or (null) in all; no row if there is
-- no such section. It reads the days' bookings once, for all days together.
with open_seats as (
    select seats.id
    from seats
    inner join sections on sections.id = seats.section_id
    where not seats.closed and (:section::text is null or sections.name = :section)
),
taken as (
    select bookings.day, count(*) as seats
    from bookings
    inner join open_seats on open_seats.id = bookings.seat_id
    where bookings.day between :first_day and :last_day and bookings.status = 'confirmed'
    group by bookings.day
)
select
    days.day,
    bookable.seats as bookable,
    bookable.seats - coalesce(taken.seats, 0) as free
from (
    select :first_day::date + n as day
    from generate_series(0, :last_day::date - :first_day::date) as offsets (n)
) as days
cross join (select count(*) as seats from open_seats) as bookable
left join taken on taken.day = days.day
where :section::text is null or exists (select from sections where name = :section)
order by days.day;

-- name: list_just_cancelled_bookings(user_id, first_day, seconds, kept)
-- The user's bookings from a day on that were cancelled less than `seconds` ago, or are among `kept`, soonest first, each
-- with the seconds that are left; without those of days that the user has booked again since.
select
    booking_details.*,
    greatest(0, ceil(:seconds::integer - extract(epoch from now() - bookings.cancelled_at)))::integer as seconds_left
from booking_details
inner join bookings on bookings.id = booking_details.id
where
    booking_details.user_id = :user_id
    and booking_details.day >= :first_day
    and bookings.status = 'cancelled'
    and (bookings.cancelled_at > now() - make_interval(secs => :seconds) or bookings.id = any(:kept::bigint []))
    and not exists (
        select from bookings as later
        where later.user_id = bookings.user_id and later.day = bookings.day and later.id > bookings.id
    )
order by booking_details.day;

-- name: list_ended_bookings(user_id, day, rows)
-- The user's past or cancelled bookings, latest first, at most `rows`.
select * from booking_details
where user_id = :user_id and (day < :day or status = 'cancelled')
order by day desc, id desc
limit :rows;

-- name: list_bookings(user_id, first_day, last_day, status, after_day, after_id, rows)
-- A page of the user's bookings between two days, by day and id, after the given one; with this status, or any if null;
-- at most `rows`, or all if null.
select * from booking_details
where
    user_id = :user_id
    and day between :first_day and :last_day
    and (:status::text is null or status = :status)
    and (day, id) > (:after_day::date, :after_id::bigint)
order by day, id
limit :rows;

-- name: count_upcoming_bookings(user_ids, first_day)
-- How many bookings each of these users has from a day on; no row for users who have none.
select user_id, count(*)::integer as bookings
from bookings
where user_id = any(:user_ids::bigint []) and day >= :first_day and status = 'confirmed'
group by user_id;

-- name: cancel_upcoming_bookings(user_id, first_day, actor_id, session_id)
-- Cancel the user's bookings from a day on, each with an audit row. First increment their sections' generations, in the
-- order of day and section.
with upcoming as (
    select bookings.id, bookings.day, bookings.seat_id, seats.section_id
    from bookings
    inner join seats on seats.id = bookings.seat_id
    where bookings.user_id = :user_id and bookings.day >= :first_day and bookings.status = 'confirmed'
),
bumped as (
    insert into generations as g (section_id, day, generation)
    select section_id, day, 1
    from upcoming
    order by day, section_id
    on conflict (section_id, day) do update set generation = g.generation + 1
    returning day
),
cancelled as (
    update bookings set status = 'cancelled', cancelled_at = now()
    from upcoming
    where bookings.id = upcoming.id and (select count(*) from bumped) >= 0
    returning bookings.id, bookings.day, bookings.seat_id, bookings.user_id
),
audited as (
    insert into audit (action, user_id, actor_id, session_id, booking_id, seat_id, day)
    select 'cancel', user_id, :actor_id, :session_id, id, seat_id, day
    from cancelled
)
select day
from cancelled
order by day;

-- name: try_idempotency_lock(user_id, key)$
-- Try to lock this idempotency key until the end of the transaction; false if another request has it.
select pg_try_advisory_xact_lock(hashtextextended(:user_id::bigint || ':' || :key::text, 0));

-- name: find_answer(user_id, key)^
-- The stored answer to the request that did something with this key. Older versions stored refusals too; skip those.
select fingerprint, status, body
from idempotency_keys
where user_id = :user_id and key = :key and status < 400;

-- name: store_answer(user_id, key, fingerprint, status, body)!
-- Store the answer, in the same transaction as what the request did; replace a refusal that an older version stored.
insert into idempotency_keys (user_id, key, fingerprint, status, body)
values (:user_id, :key, :fingerprint, :status, :body)
on conflict (user_id, key) do update
set fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body, created_at = now();

-- name: prune_bookings(before, rows)$
-- Delete a batch of bookings before a day; how many were deleted.
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
-- Delete a batch of idempotency keys older than `days` days; how many were deleted.
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
