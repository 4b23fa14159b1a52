-- Book any free seat in one statement, so that its section is not locked during round trips to the app.
-- depends: 0002_idempotency_keys

-- migrate: apply

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

-- migrate: rollback

drop function book_any_seat(bigint, date, smallint [], bigint [], uuid);
