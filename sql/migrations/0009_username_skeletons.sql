-- Skeletons of usernames, so that nobody registers a name that looks like someone else's (UTS 39).
-- depends: 0008_enrolling_sessions

-- migrate: apply

create table username_skeletons (
    skeleton text constraint username_skeletons_key primary key,
    user_id bigint not null references users
);

create index username_skeletons_user_idx on username_skeletons (user_id);

-- migrate: rollback

drop table username_skeletons;
