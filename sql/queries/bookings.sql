-- name: find_sitters(seat_ids, days)
-- The ids of the users who have the seats, each on its day: losers learn it here without queueing behind the winners.
select seat_id, day, user_id
from bookings join unnest(:seat_ids::bigint[], :days::date[]) as wanted(seat_id, day) using (seat_id, day)
where status = 'confirmed';

-- name: book_seat(seat_id, user_id, day, session_id)^
-- The whole booking in one statement: the section's generation first (it queues the section's writers, in one order
-- everywhere, so they cannot deadlock), then the booking (the unique indexes decide), then the audit row.
-- No row when there is no such seat, or it is closed.
with bumped as (
    insert into generations as g (section_id, day, generation)
    select section_id, :day, 1
    from seats
    where id = :seat_id and not closed
    on conflict (section_id, day) do update set generation = g.generation + 1
    returning section_id, generation
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
    bumped.section_id, bumped.generation,
    seats.id as seat_id, sections.name as section, seats.number, seats.grid_row, seats.grid_column, seats.closed
from booked
cross join bumped
inner join seats on seats.id = booked.seat_id
inner join sections on sections.id = seats.section_id;

-- name: bump_generations(section_ids, day)
-- Grow the generation of the given sections on a day, in the order of their ids; holds them until the end of the
-- transaction, so everything read after it stays true of these sections.
insert into generations as g (section_id, day, generation)
select section_id, :day, 1
from unnest(:section_ids::smallint []) as given (section_id)
order by section_id
on conflict (section_id, day) do update set generation = g.generation + 1
returning section_id, generation;

-- name: book_any_seat(user_id, day, section_ids, held, session_id)$
-- The id of a booking of a free seat that nobody holds, in the emptiest of the sections; null when there is none.
select book_any_seat(:user_id, :day, :section_ids::smallint [], :held::bigint [], :session_id);

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
-- The user's confirmed booking, locked: nobody moves or cancels it until this transaction ends. It reads no other
-- table, since a join would lose the row when it was moved while this statement waited for it.
select id, day, seat_id
from bookings
where id = :booking_id and user_id = :user_id and status = 'confirmed'
for update;

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
