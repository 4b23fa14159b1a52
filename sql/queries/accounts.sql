-- name: register_user(username, username_key, skeletons, password_hash)^
-- Insert a user and the audit row; unique keys refuse a name that is taken or looks like another.
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
-- Accounts without a skeleton, by id: they are older than skeletons, or look like an older account.
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
-- Store the accounts' skeletons, oldest account first; skip a skeleton that another account has. Wait for an account
-- that is being deleted, and then skip it.
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
-- What signing in checks: the password hash, and whether the account is disabled.
select id, username, created_at, role, password_hash, disabled_at is not null as disabled
from users
where username_key = :username_key;

-- name: find_password(user_id)$
-- The password hash of a user whose account is not disabled, to confirm a sensitive action.
select password_hash
from users
where id = :user_id and disabled_at is null;

-- name: change_password(user_id, known_hash, password_hash, session_id)$
-- Store a new password and its audit row; null if the password that authorised the change is no longer current. This
-- also deletes password reset codes, both for the user and made by them as an administrator (an intruder may have made
-- those), and sign-ins that wait for a second factor.
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
-- Store a hash of the same password with the current parameters, unless the password has changed meanwhile.
update users set password_hash = :password_hash
where id = :user_id and password_hash = :known_hash;

-- name: put_password_reset(user_id, code_hash, hours, actor_id)!
-- Store a password reset code, replacing any earlier one, with an audit row.
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
-- The user whose unexpired reset code this is.
select users.id
from password_resets as resets
inner join users on users.id = resets.user_id
where
    users.username_key = :username_key
    and users.disabled_at is null
    and resets.code_hash = :code_hash
    and resets.expires_at > now();

-- name: use_password_reset(user_id, code_hash)$
-- Delete a code as used; null if it was used or replaced, or has expired. A code from an administrator works only for
-- users who are not administrators, and only while its maker is still one.
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

-- name: list_users(pattern, after, rows)
-- A page of the accounts whose key matches the pattern, by key, after the given one; without deleted accounts.
select id, username, username_key, created_at, role, disabled_at is not null as disabled
from users
where username_key like :pattern and username_key > :after and deleted_at is null
order by username_key
limit :rows;

-- name: list_admins()
-- All administrators.
select id, username, created_at, role
from users
where role = 'admin' and deleted_at is null
order by username_key;

-- name: find_user_id(username_key)$
-- The id of the account with this username key.
select id
from users
where username_key = :username_key and deleted_at is null;

-- name: find_account(user_id)^
-- An account by id, as administrators see them.
select id, username, username_key, created_at, role, disabled_at is not null as disabled
from users
where id = :user_id and deleted_at is null;

-- name: change_role(user_id, role, actor_id)$
-- Change a user's role, with an audit row; the id, or null if they have the role already. This also deletes password
-- reset codes, both for the user and made by them.
with changed as (
    update users set role = :role
    where id = :user_id and role <> :role and deleted_at is null
    returning id, role
),
codes as (
    delete from password_resets
    using changed
    where password_resets.user_id = changed.id or password_resets.created_by = changed.id
),
audited as (
    insert into audit (action, user_id, actor_id)
    select case role when 'admin' then 'grant' else 'revoke' end, id, :actor_id
    from changed
)
select id
from changed;

-- name: change_disabled(user_id, disabled, actor_id)$
-- Disable or enable an account, with an audit row; the id, or null if nothing changed. This also deletes password reset
-- codes, both for the user and made by them.
with changed as (
    update users set disabled_at = case when :disabled::boolean then now() end
    where id = :user_id and (disabled_at is not null) <> :disabled::boolean and deleted_at is null
    returning id, disabled_at
),
codes as (
    delete from password_resets
    using changed
    where password_resets.user_id = changed.id or password_resets.created_by = changed.id
),
audited as (
    insert into audit (action, user_id, actor_id)
    select case when disabled_at is null then 'enable' else 'disable' end, id, :actor_id
    from changed
)
select id
from changed;

-- name: delete_account(user_id, session_id)!
-- Erase an account's personal data; its row stays for bookings and the audit trail, which refer to it by id. Its new
-- key cannot be registered.
with deleted as (
    update users
    set
        username = 'Deleted user', username_key = chr(1) || id, password_hash = '', role = 'user',
        disabled_at = now(), deleted_at = now()
    where id = :user_id
    returning id
),
keys as (
    delete from idempotency_keys
    where user_id = :user_id
),
apps as (
    delete from totp_secrets
    where user_id = :user_id
),
codes as (
    delete from recovery_codes
    where user_id = :user_id
),
devices as (
    delete from passkeys
    where user_id = :user_id
),
resets as (
    delete from password_resets
    where user_id = :user_id or created_by = :user_id
),
skeletons as (
    delete from username_skeletons
    where user_id = :user_id
),
waiting as (
    delete from waiting_sign_ins
    where user_id = :user_id
),
tries as (
    delete from code_tries
    where user_id = :user_id
)
insert into audit (action, user_id, actor_id, session_id)
select 'delete_account', id, id, :session_id
from deleted;

-- name: lock_accounts(user_ids)
-- Lock accounts until the end of the transaction, always in the order of their ids, and say which are disabled.
select id, role, disabled_at is not null as disabled
from users
where id = any(:user_ids::bigint [])
order by id
for update;

-- name: export_audit(user_id)
-- A user's audit trail, oldest first.
select audit.at, audit.action, audit.day, sections.name || '-' || seats.number as seat
from audit
left join seats on seats.id = audit.seat_id
left join sections on sections.id = seats.section_id
where audit.user_id = :user_id
order by audit.id;
