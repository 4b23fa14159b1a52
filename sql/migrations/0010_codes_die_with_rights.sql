-- Who made a password reset code, so that it stops working when its maker's rights do; and an index of live sessions.
-- depends: 0009_username_skeletons

-- migrate: apply

-- It is unknown who made the existing codes, which expire within a day anyway. Users ask for new ones.
delete from password_resets;

alter table password_resets add column created_by bigint references users;

create index sessions_live_idx on sessions (user_id) where ended_at is null;

-- migrate: rollback

drop index sessions_live_idx;

alter table password_resets drop column created_by;
