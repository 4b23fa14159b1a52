-- name: find_factors(user_id)^
-- When the authenticator app was added, and how many recovery codes the user has in all and unused.
select
    (select confirmed_at from totp_secrets where user_id = :user_id) as totp_since,
    (select count(*) from recovery_codes where user_id = :user_id) as recovery_made,
    (select count(*) from recovery_codes where user_id = :user_id and used_at is null) as recovery_left;

-- name: has_second_factor(user_id)$
-- Whether signing in takes more than the password.
select
    exists (select from totp_secrets where user_id = :user_id and confirmed_at is not null)
    or exists (select from passkeys where user_id = :user_id);

-- name: begin_totp(user_id, secret)$
-- Store a new, unconfirmed secret, replacing an unconfirmed one; null if there is a confirmed one.
insert into totp_secrets as t (user_id, secret)
values (:user_id, :secret)
on conflict (user_id) do update set secret = excluded.secret, last_step = 0, created_at = now()
where t.confirmed_at is null
returning user_id;

-- name: find_totp(user_id)^
-- The secret, and whether it is confirmed.
select secret, confirmed_at is not null as confirmed
from totp_secrets
where user_id = :user_id;

-- name: confirm_totp(user_id, secret, step, session_id)$
-- Confirm the secret and mark its first code as used, with an audit row; null if the secret was replaced meanwhile.
with confirmed as (
    update totp_secrets set confirmed_at = now(), last_step = :step
    where user_id = :user_id and secret = :secret and confirmed_at is null
    returning user_id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'second_factor_add', user_id, :session_id
    from confirmed
)
select user_id
from confirmed;

-- name: use_totp(user_id, secret, step)$
-- Mark a time-step's code as used, unless that code or a later one was used before (RFC 6238, section 5.2).
update totp_secrets set last_step = :step
where user_id = :user_id and secret = :secret and confirmed_at is not null and last_step < :step
returning user_id;

-- name: remove_totp(user_id, session_id)!
-- Remove the authenticator app, with an audit row; do nothing if there is none.
with removed as (
    delete from totp_secrets
    where user_id = :user_id
    returning user_id, confirmed_at
)
insert into audit (action, user_id, session_id)
select 'second_factor_remove', user_id, :session_id
from removed
where confirmed_at is not null;

-- name: remove_recovery_codes(user_id)!
-- Delete the user's recovery codes.
delete from recovery_codes
where user_id = :user_id;

-- name: add_recovery_codes(user_id, hashes, session_id)!
-- Store the user's recovery codes, numbered from 0, with one audit row.
with added as (
    insert into recovery_codes (user_id, number, code_hash)
    select :user_id, place - 1, code_hash
    from unnest(:hashes::text []) with ordinality as given (code_hash, place)
)
insert into audit (action, user_id, session_id)
values ('recovery_codes', :user_id, :session_id);

-- name: find_recovery_code(user_id, number)$
-- The argon2 hash of an unused recovery code in the old format: 16 digits, of which the first is its number.
select code_hash
from recovery_codes
where user_id = :user_id and number = :number and used_at is null;

-- name: use_recovery_code(user_id, code_hash)$
-- Mark a recovery code as used, with an audit row; null if there is none, or another request used it first.
with used as (
    update recovery_codes set used_at = now()
    where user_id = :user_id and code_hash = :code_hash and used_at is null
    returning user_id
),
audited as (
    insert into audit (action, user_id)
    select 'recovery_code_use', user_id
    from used
)
select user_id
from used;

-- name: count_code_try(user_id, most, seconds)$
-- Count an attempt before it is checked; null after `most` attempts in a row, each within `seconds` of the one before.
insert into code_tries as t (user_id, tries, last_at)
values (:user_id, 1, now())
on conflict (user_id) do update set
tries = case when t.last_at < now() - make_interval(secs => :seconds) then 1 else t.tries + 1 end,
last_at = now()
where t.tries < :most or t.last_at < now() - make_interval(secs => :seconds)
returning tries;

-- name: seconds_to_wait(user_id, seconds)$
-- How long until the next attempt is allowed.
select ceil(extract(epoch from last_at - now()) + :seconds)::integer
from code_tries
where user_id = :user_id;

-- name: forget_code_tries(user_id)!
-- Reset the count of attempts after a correct code.
delete from code_tries
where user_id = :user_id;

-- name: begin_waiting(user_id, password_hash, seconds)$
-- Store a sign-in that waits for the second factor, with the password hash that was verified; delete expired ones.
with gone as (
    delete from waiting_sign_ins
    where created_at < now() - make_interval(secs => :seconds)
)
insert into waiting_sign_ins (user_id, password_hash)
values (:user_id, :password_hash)
returning id;

-- name: find_waiting(waiting_id, seconds)^
-- The user of a waiting sign-in, if it has not expired, the password is the same and the account is not disabled.
select users.id, users.username, users.created_at, users.role
from waiting_sign_ins as waiting
inner join users on users.id = waiting.user_id
where
    waiting.id = :waiting_id
    and waiting.created_at > now() - make_interval(secs => :seconds)
    and waiting.password_hash = users.password_hash
    and users.disabled_at is null;

-- name: count_waiting_try(waiting_id, most)$
-- Count an attempt of this sign-in before it is checked; null after `most`.
update waiting_sign_ins set tries = tries + 1
where id = :waiting_id and tries < :most
returning tries;

-- name: end_waiting(waiting_id)$
-- Delete a waiting sign-in; null if another request has done so.
delete from waiting_sign_ins
where id = :waiting_id
returning password_hash;

-- name: list_passkeys(user_id)
-- The user's passkeys, oldest first.
select id, name, created_at, last_used_at, credential_id, transports, user_handle
from passkeys
where user_id = :user_id
order by id;

-- name: find_passkey(credential_id)^
-- A passkey and its user, unless the account is disabled.
select
    passkeys.id, passkeys.public_key, passkeys.sign_count, passkeys.user_handle,
    users.id as user_id, users.username, users.created_at, users.role
from passkeys
inner join users on users.id = passkeys.user_id
where passkeys.credential_id = :credential_id and users.disabled_at is null;

-- name: use_challenge(challenge, seconds)$
-- Mark a challenge as used; null if it was used before. Delete expired ones.
with gone as (
    delete from used_challenges
    where expires_at < now()
)
insert into used_challenges (challenge, expires_at)
values (:challenge, now() + make_interval(secs => :seconds))
on conflict (challenge) do nothing
returning challenge;

-- name: add_passkey(user_id, user_handle, credential_id, public_key, sign_count, transports, name, session_id)$
-- Store a new passkey, with an audit row; null if it is registered already.
with added as (
    insert into passkeys (user_id, user_handle, credential_id, public_key, sign_count, transports, name)
    values (:user_id, :user_handle, :credential_id, :public_key, :sign_count, :transports::text [], :name)
    on conflict (credential_id) do nothing
    returning id, user_id
),
audited as (
    insert into audit (action, user_id, session_id)
    select 'passkey_add', user_id, :session_id
    from added
)
select id
from added;

-- name: use_passkey(passkey_id, sign_count)$
-- Record that a passkey was used; null if its counter did not grow, a sign of a cloned passkey (WebAuthn, section
-- 6.1.1).
update passkeys set sign_count = :sign_count, last_used_at = now()
where id = :passkey_id and (sign_count < :sign_count or (sign_count = 0 and :sign_count = 0))
returning id;

-- name: remove_passkey(passkey_id, user_id, session_id)!
-- Delete one of the user's passkeys, with an audit row; do nothing if there is none.
with removed as (
    delete from passkeys
    where id = :passkey_id and user_id = :user_id
    returning user_id
)
insert into audit (action, user_id, session_id)
select 'passkey_remove', user_id, :session_id
from removed;
