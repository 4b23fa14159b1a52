-- Who made a code for a forgotten password, so that it dies with their rights; and an index for the sessions that count.
-- depends: 0009_username_skeletons

-- migrate: apply

-- Nobody knows who made those of before: for one day at most, people ask for another.
delete from password_resets;

alter table password_resets add column created_by bigint references users;

create index sessions_live_idx on sessions (user_id) where ended_at is null;

-- migrate: rollback

drop index sessions_live_idx;

alter table password_resets drop column created_by;
