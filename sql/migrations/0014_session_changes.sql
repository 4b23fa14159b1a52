-- Lets every process remember sessions for as long as they do not change, instead of asking for each one again and again.
-- depends: 0013_short_usernames

-- migrate: apply

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

-- migrate: rollback

drop trigger users_note_change on users;

drop trigger sessions_note_delete on sessions;

drop trigger sessions_note_change on sessions;

drop function note_session_change();

drop table session_changes;
