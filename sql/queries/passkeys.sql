-- name: list_passkeys(user_id)
-- The user's passkeys, in the order in which they were added.
select id, name, created_at, last_used_at, credential_id, transports, user_handle
from passkeys
where user_id = :user_id
order by id;

-- name: find_passkey(credential_id)^
-- A passkey and its user, unless the account is disabled.
select
    passkeys.id, passkeys.public_key, passkeys.sign_count, passkeys.user_handle,
    users.id as user_id, users.username, users.created_at
from passkeys
inner join users on users.id = passkeys.user_id
where passkeys.credential_id = :credential_id and users.disabled_at is null;

-- name: use_challenge(challenge, seconds)$
-- Use a challenge up; null when it was used before. Those that are over go.
with gone as (
    delete from used_challenges
    where expires_at < now()
)
insert into used_challenges (challenge, expires_at)
values (:challenge, now() + make_interval(secs => :seconds))
on conflict (challenge) do nothing
returning challenge;

-- name: add_passkey(user_id, user_handle, credential_id, public_key, sign_count, transports, name, session_id)$
-- A new passkey of the user, written down; null when someone has it already.
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
-- Note that a passkey was used; null when its counter did not grow, which a copy of it would show (WebAuthn, 6.1.1).
update passkeys set sign_count = :sign_count, last_used_at = now()
where id = :passkey_id and (sign_count < :sign_count or (sign_count = 0 and :sign_count = 0))
returning id;

-- name: remove_passkey(passkey_id, user_id, session_id)!
-- Take a passkey of the user away and write it down; without it nothing happens.
with removed as (
    delete from passkeys
    where id = :passkey_id and user_id = :user_id
    returning user_id
)
insert into audit (action, user_id, session_id)
select 'passkey_remove', user_id, :session_id
from removed;
