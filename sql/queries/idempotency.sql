-- name: try_idempotency_lock(user_id, key)$
-- Whether no other request with this key is being answered now; held until the end of the transaction.
select pg_try_advisory_xact_lock(hashtextextended(:user_id::bigint || ':' || :key::text, 0));

-- name: find_answer(user_id, key)^
-- The first answer to a request with this key.
select fingerprint, status, body
from idempotency_keys
where user_id = :user_id and key = :key;

-- name: keep_answer(user_id, key, fingerprint, status, body)!
-- Keep the first answer, in the transaction of what it did.
insert into idempotency_keys (user_id, key, fingerprint, status, body)
values (:user_id, :key, :fingerprint, :status, :body);
