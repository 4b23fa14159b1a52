-- name: register_user(username, username_key, skeletons, password_hash)^
-- A new user and the audit row; the unique keys refuse a name that is taken, and one that looks like another.
with registered as (
    insert into users (username, username_key, password_hash)
    values (:username, :username_key, :password_hash)
    returning id, username, created_at, role
),
skeletons as (
    insert into username_skeletons (skeleton, user_id)
    select unnest(:skeletons::text []), id
    from registered
),
audited as (
    insert into audit (action, user_id)
    select 'register', id
    from registered
)
select id, username, created_at, role
from registered;

-- name: find_names_without_skeletons(after, rows)
-- Accounts that have no skeleton, by id: they are from before there were any, or look like an older account.
select id, username
from users
where
    id > :after and deleted_at is null
    and not exists (
        select from username_skeletons
        where username_skeletons.user_id = users.id and username_skeletons.user_id > :after
    )
order by id
limit :rows;

-- name: put_skeletons(user_ids, skeletons)!
-- Give accounts these skeletons, the oldest account first, but for those that another account has. An account that is
-- being deleted is waited for, and gets none.
with present as (
    select id
    from users
    where id = any(:user_ids::bigint []) and deleted_at is null
    for share
)
insert into username_skeletons (skeleton, user_id)
select given.skeleton, given.user_id
from unnest(:skeletons::text [], :user_ids::bigint []) as given (skeleton, user_id)
inner join present on present.id = given.user_id
order by given.user_id
on conflict (skeleton) do nothing;

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

-- name: change_password(user_id, known_hash, password_hash, session_id)$
-- A new password and its audit row; null where the password that allowed it, if one did, is another by now. Codes for a
-- forgotten password die, those that the user made as an administrator too: someone else may have made them. So do
-- sign-ins that wait for a second factor.
with changed as (
    update users set password_hash = :password_hash
    where id = :user_id and (:known_hash::text is null or password_hash = :known_hash)
    returning id
),
resets as (
    delete from password_resets
    using changed
    where password_resets.user_id = changed.id or password_resets.created_by = changed.id
),
waiting as (
    delete from waiting_sign_ins
    using changed
    where waiting_sign_ins.user_id = changed.id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'password_change', id, :session_id
    from changed
)
select id
from changed;

-- name: rehash_password(user_id, known_hash, password_hash)!
-- The same password, hashed with the parameters of today; not if it was changed meanwhile.
update users set password_hash = :password_hash
where id = :user_id and password_hash = :known_hash;
