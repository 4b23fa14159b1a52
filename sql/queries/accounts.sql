-- name: register_user(username, username_key, password_hash)^
-- A new user and the audit row; the unique key on username_key refuses a name that is taken.
with registered as (
    insert into users (username, username_key, password_hash)
    values (:username, :username_key, :password_hash)
    returning id, username, created_at
),
audited as (
    insert into audit (action, user_id)
    select 'register', id
    from registered
)
select id, username, created_at
from registered;

-- name: find_credentials(username_key)^
-- What signing in compares: the hash, and whether the account is disabled.
select id, username, created_at, password_hash, disabled_at is not null as disabled
from users
where username_key = :username_key;

-- name: find_password(user_id)$
-- The password's hash of a user whose account counts: asked again before something grave.
select password_hash
from users
where id = :user_id and disabled_at is null;

-- name: start_session(user_id, expires_at)$
-- A new session of a user, with its audit row.
with started as (
    insert into sessions (user_id, expires_at)
    values (:user_id, :expires_at)
    returning id, user_id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'sign_in', user_id, id
    from started
)
select id
from started;

-- name: find_session(session_id, user_id)^
-- A session that still counts: not ended, not over, of a user who is not disabled.
select
    sessions.id, sessions.expires_at,
    users.id as user_id, users.username, users.created_at
from sessions
inner join users on users.id = sessions.user_id
where
    sessions.id = :session_id
    and sessions.user_id = :user_id
    and sessions.ended_at is null
    and sessions.expires_at > now()
    and users.disabled_at is null;

-- name: live_sessions(session_ids)
-- Those of many sessions that still count, for the streams that are open under them.
select sessions.id
from sessions
inner join users on users.id = sessions.user_id
where
    sessions.id = any(:session_ids::uuid [])
    and sessions.ended_at is null
    and sessions.expires_at > now()
    and users.disabled_at is null;

-- name: end_session(session_id)!
-- End a session once and write it down; ending it again changes nothing.
with ended as (
    update sessions set ended_at = now()
    where id = :session_id and ended_at is null
    returning id, user_id
)
insert into audit (action, user_id, session_id)
select 'sign_out', user_id, id
from ended;
