-- Renaming a section by SQL changes its version, as changing its seats does; until now the old name stayed on the map.
-- depends: 0011_failed_sign_ins

-- migrate: apply

create function bump_own_version() returns trigger language plpgsql as $$
begin
    new.version := greatest(new.version, old.version + 1);
    return new;
end
$$;

create trigger sections_bump_version before update on sections
for each row execute function bump_own_version();

-- migrate: rollback

drop trigger sections_bump_version on sections;

drop function bump_own_version();
