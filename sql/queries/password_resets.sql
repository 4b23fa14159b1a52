-- name: put_password_reset(user_id, code_hash, hours, actor_id)!
-- A code for a forgotten password, in the place of any before, written down.
with put as (
    insert into password_resets (user_id, code_hash, expires_at, created_by)
    values (:user_id, :code_hash, now() + make_interval(hours => :hours), :actor_id)
    on conflict (user_id) do update
    set code_hash = excluded.code_hash, expires_at = excluded.expires_at, created_by = excluded.created_by
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
-- Use a code up; null when it was used or replaced meanwhile, or gives a right that it must not give (any more): one that
-- an administrator made is for users only, and counts only while its maker is an administrator.
delete from password_resets as resets
using users
where
    resets.user_id = :user_id
    and resets.code_hash = :code_hash
    and resets.expires_at > now()
    and users.id = resets.user_id
    and users.disabled_at is null
    and (
        resets.created_by is null
        or (
            users.role = 'user'
            and exists (
                select from users as makers
                where makers.id = resets.created_by and makers.role = 'admin' and makers.disabled_at is null
            )
        )
    )
returning resets.user_id;
