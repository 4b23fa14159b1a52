-- The seats of a first run: sections A to D, each with two tables of ten. Does nothing if there are sections already.
with new_sections as (
    insert into sections (name)
    select name
    from unnest(array['A', 'B', 'C', 'D']) with ordinality as first_run (name, place)
    where not exists (select from sections)
    order by place
    returning id
)
insert into seats (section_id, number, grid_row, grid_column)
select
    new_sections.id,
    to_char(place, 'FM00'),
    (place - 1) / 5 + 1,
    (place - 1) % 5 + 1
from new_sections cross join generate_series(1, 20) as place
order by new_sections.id, place;
