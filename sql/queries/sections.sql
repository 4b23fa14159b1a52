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
