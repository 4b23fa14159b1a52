-- name: register_user(username, username_key, password_hash)^
-- A new user and the audit row; the unique key on username_key refuses a name that is taken.
with registered as (
    insert into users (username, username_key, password_hash)
    values (:username, :username_key, :password_hash)
    returning id, username, created_at, role
),
audited as (
    insert into audit (action, user_id)
    select 'register', id
    from registered
)
select id, username, created_at, role
from registered;

-- name: find_credentials(username_key)^
-- What signing in compares: the hash, and whether the account is disabled.
select id, username, created_at, role, password_hash, disabled_at is not null as disabled
from users
where username_key = :username_key;

-- name: find_password(user_id)$
-- The password's hash of a user whose account counts: asked again before something grave.
select password_hash
from users
where id = :user_id and disabled_at is null;

-- name: change_password(user_id, password_hash, session_id)!
-- A new password, written down; a code for a forgotten one counts no more.
with changed as (
    update users set password_hash = :password_hash
    where id = :user_id
    returning id
),
resets as (
    delete from password_resets
    where user_id = :user_id
)
insert into audit (action, user_id, session_id)
select 'password_change', id, :session_id
from changed;

-- name: rehash_password(user_id, known_hash, password_hash)!
-- The same password, hashed with the parameters of today; not if it was changed meanwhile.
update users set password_hash = :password_hash
where id = :user_id and password_hash = :known_hash;
