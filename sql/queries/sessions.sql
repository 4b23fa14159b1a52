-- name: start_session(user_id, expires_at, address, device, password_hash, enrolling, most)$
-- Start a session, with its audit row; null if the account is disabled, or if the password hash that was verified is no
-- longer current. It waits for a concurrent change of the account; a later change ends the session. Of more than `most`
-- sessions, the least recently used ones end.
with eligible as (
    select id
    from users
    where
        id = :user_id
        and disabled_at is null
        and (:password_hash::text is null or password_hash = :password_hash)
    for share
),
started as (
    insert into sessions (user_id, expires_at, address, device, enrolling)
    select id, :expires_at, :address, :device, :enrolling
    from eligible
    returning id, user_id
),
surplus as (
    update sessions set ended_at = now()
    where
        exists (select from started)
        and id in (
            select id
            from sessions
            where user_id = :user_id and ended_at is null and expires_at > now()
            order by seen_at desc, created_at desc, id
            offset :most::integer - 1
        )
    returning id, user_id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'sign_in', user_id, id
    from started
    union all
    select 'sign_out', user_id, id
    from surplus
)
select id
from started;

-- name: lock_session(session_id, user_id)$
-- Lock a session until the end of the transaction; null if it has ended. Lock its account first.
select id
from sessions
where id = :session_id and user_id = :user_id and ended_at is null and expires_at > now()
for share;

-- name: find_session(session_id, user_id, idle)^
-- A live session: not ended, expired or idle for too long, of a user who is not disabled.
select
    sessions.id, sessions.expires_at, sessions.enrolling,
    users.id as user_id, users.username, users.created_at, users.role
from sessions
inner join users on users.id = sessions.user_id
where
    sessions.id = :session_id
    and sessions.user_id = :user_id
    and sessions.ended_at is null
    and sessions.expires_at > now()
    and sessions.seen_at > now() - :idle::interval
    and users.disabled_at is null;

-- name: live_sessions(session_ids, idle)
-- Which of these sessions are live. One query for all that have an open stream.
select sessions.id
from sessions
inner join users on users.id = sessions.user_id
where
    sessions.id = any(:session_ids::uuid [])
    and sessions.ended_at is null
    and sessions.expires_at > now()
    and sessions.seen_at > now() - :idle::interval
    and users.disabled_at is null;

-- name: session_changes(after)^
-- The users whose sessions or rights were changed by transactions that had not committed when a snapshot was taken that
-- this query returned as `horizon`; every change is found, whatever the order of commits. With null, only the horizon.
select
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon,
    array(select distinct user_id from session_changes where xid >= :after::text::xid8) as user_ids;

-- name: prune_session_changes()!
-- Delete the changes that every process has seen.
delete from session_changes
where at < now() - interval '1 hour';

-- name: mark_enrolling(needed, after, rows)$
-- If everyone needs a second factor, limit the sessions of users without one to adding it; if not, lift that limit.
-- Update the next `rows` sessions after an id, and return the last id.
with page as (
    select id
    from sessions
    where ended_at is null and id > :after::uuid
    order by id
    limit :rows
),
marked as (
    update sessions set enrolling = not sessions.enrolling
    from page
    where
        sessions.id = page.id
        and sessions.enrolling <> (
            :needed::boolean
            and not exists (
                select from totp_secrets as t
                where t.user_id = sessions.user_id and t.confirmed_at is not null
            )
            and not exists (select from passkeys as p where p.user_id = sessions.user_id)
        )
)
select id
from page
order by id desc
limit 1;

-- name: list_sessions(user_id, idle, rows)
-- The user's live sessions, most recently used first, at most `rows`.
select id, created_at, seen_at, address, device
from sessions
where
    user_id = :user_id
    and ended_at is null
    and expires_at > now()
    and seen_at > now() - :idle::interval
order by seen_at desc, id
limit :rows;

-- name: touch_sessions(session_ids, idle)!
-- Record that these sessions were used within the last minute; one that was idle for too long stays so.
update sessions set seen_at = now()
where
    id = any(:session_ids::uuid [])
    and ended_at is null
    and seen_at > now() - :idle::interval;

-- name: end_session(session_id, user_id)!
-- End one of the user's sessions, with an audit row; do nothing if it has ended or is another user's.
with ended as (
    update sessions set ended_at = now()
    where id = :session_id and user_id = :user_id and ended_at is null
    returning id, user_id
)
insert into audit (action, user_id, session_id)
select 'sign_out', user_id, id
from ended;

-- name: end_sessions(user_id, kept)
-- End the user's sessions except `kept` (all if it is null), with audit rows; the ended sessions' ids.
with ended as (
    update sessions set ended_at = now()
    where user_id = :user_id and ended_at is null and id is distinct from :kept::uuid
    returning id, user_id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'sign_out', user_id, id
    from ended
)
select id
from ended;

-- name: delete_sessions(user_id)!
-- Delete a user's sessions.
delete from sessions
where user_id = :user_id;

-- name: export_sessions(user_id)
-- All of a user's sessions that are still stored, including ended ones, oldest first.
select id, created_at, seen_at, address, device
from sessions
where user_id = :user_id
order by created_at, id;

-- name: prune_sessions(days, rows)$
-- Delete a batch of sessions that ended or expired more than `days` days ago; how many were deleted.
with old as (
    select id
    from sessions
    where least(ended_at, expires_at) < now() - make_interval(days => :days::integer)
    limit :rows
),
pruned as (
    delete from sessions
    using old
    where sessions.id = old.id
    returning sessions.id
)
select count(*)
from pruned;
