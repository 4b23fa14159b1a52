-- name: put_password_reset(user_id, code_hash, hours, actor_id)!
-- A code for a forgotten password, in the place of any before, written down.
with put as (
    insert into password_resets (user_id, code_hash, expires_at)
    values (:user_id, :code_hash, now() + make_interval(hours => :hours))
    on conflict (user_id) do update set code_hash = excluded.code_hash, expires_at = excluded.expires_at
    returning user_id
)
insert into audit (action, user_id, actor_id)
select 'password_reset_code', user_id, :actor_id
from put;

-- name: find_password_reset(username_key, code_hash)$
-- The user whose code this is, while it counts.
select users.id
from password_resets as resets
inner join users on users.id = resets.user_id
where
    users.username_key = :username_key
    and users.disabled_at is null
    and resets.code_hash = :code_hash
    and resets.expires_at > now();

-- name: use_password_reset(user_id, code_hash)$
-- The code counts no more; null when another request used it, or a newer one came.
delete from password_resets
where user_id = :user_id and code_hash = :code_hash and expires_at > now()
returning user_id;
