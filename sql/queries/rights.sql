-- name: list_users(pattern, after, rows)
-- Accounts whose key is like the pattern, by key, after the last one of the page before; deleted ones are left out.
select id, username, username_key, created_at, role, disabled_at is not null as disabled
from users
where username_key like :pattern and username_key > :after and deleted_at is null
order by username_key
limit :rows;

-- name: list_admins()
-- Those who administer the site.
select id, username, created_at, role
from users
where role = 'admin' and deleted_at is null
order by username_key;

-- name: find_user_id(username_key)$
-- The id of an account.
select id
from users
where username_key = :username_key and deleted_at is null;

-- name: find_user(user_id)^
-- Who this is.
select id, username, created_at, role
from users
where id = :user_id and deleted_at is null;

-- name: change_role(user_id, role, actor_id)$
-- Give a user a role and write it down; the id, or null where they have it already. Codes for a forgotten password, for
-- the user or made by them, die.
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
-- Disable or enable an account and write it down; the id, or null where it is so already. Codes for a forgotten
-- password, for the user or made by them, die.
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
-- Take from an account what tells who it was; its row stays for the bookings and the audit trail, which hold numbers only.
-- The key is none that can be registered.
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
-- Hold accounts until the end of the transaction, always in the order of their ids; disabled ones are told apart.
select id, role, disabled_at is not null as disabled
from users
where id = any(:user_ids::bigint [])
order by id
for update;

-- name: cancel_coming_bookings(user_id, first_day, session_id)
-- End the user's bookings from a day on, and write each down; the generations of their sections grow in the order of
-- day and section, before anything else.
with coming as (
    select bookings.id, bookings.day, bookings.seat_id, seats.section_id
    from bookings
    inner join seats on seats.id = bookings.seat_id
    where bookings.user_id = :user_id and bookings.day >= :first_day and bookings.status = 'confirmed'
),
bumped as (
    insert into generations as g (section_id, day, generation)
    select section_id, day, 1
    from coming
    order by day, section_id
    on conflict (section_id, day) do update set generation = g.generation + 1
    returning day
),
cancelled as (
    update bookings set status = 'cancelled', cancelled_at = now()
    from coming
    where bookings.id = coming.id and (select count(*) from bumped) >= 0
    returning bookings.id, bookings.day, bookings.seat_id, bookings.user_id
),
audited as (
    insert into audit (action, user_id, session_id, booking_id, seat_id, day)
    select 'cancel', user_id, :session_id, id, seat_id, day
    from cancelled
)
select day
from cancelled
order by day;

-- name: delete_sessions(user_id)!
-- Forget where a user was signed in.
delete from sessions
where user_id = :user_id;

-- name: export_audit(user_id)
-- What the audit trail says of a user, oldest first.
select audit.at, audit.action, audit.day, sections.name || '-' || seats.number as seat
from audit
left join seats on seats.id = audit.seat_id
left join sections on sections.id = seats.section_id
where audit.user_id = :user_id
order by audit.id;

-- name: export_sessions(user_id)
-- Every session of a user that is still kept, also those that ended, oldest first.
select id, created_at, seen_at, address, device
from sessions
where user_id = :user_id
order by created_at, id;

-- name: prune_sessions(days, rows)$
-- Forget sessions that are over for so many days; how many went, a batch at most.
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

-- name: prune_idempotency_keys(days, rows)$
-- Forget the answers to keys that are older than so many days; how many went, a batch at most.
with old as (
    select user_id, key
    from idempotency_keys
    where created_at < now() - make_interval(days => :days::integer)
    limit :rows
),
pruned as (
    delete from idempotency_keys
    using old
    where idempotency_keys.user_id = old.user_id and idempotency_keys.key = old.key
    returning idempotency_keys.key
)
select count(*)
from pruned;

-- name: prune_bookings(before, rows)$
-- Forget bookings of days before this one; how many went, a batch at most.
with old as (
    select id
    from bookings
    where day < :before
    limit :rows
),
pruned as (
    delete from bookings
    using old
    where bookings.id = old.id
    returning bookings.id
)
select count(*)
from pruned;
