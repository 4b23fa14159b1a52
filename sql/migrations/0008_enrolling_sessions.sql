-- Sessions that can only add a second factor, for sites that require one from everyone.
-- depends: 0007_password_resets

-- migrate: apply

alter table sessions add column enrolling boolean not null default false;

-- migrate: rollback

alter table sessions drop column enrolling;
