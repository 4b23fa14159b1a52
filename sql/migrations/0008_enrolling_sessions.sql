-- Sessions that count for nothing but adding the second factor, where a site asks everyone for one.
-- depends: 0007_password_resets

-- migrate: apply

alter table sessions add column enrolling boolean not null default false;

-- migrate: rollback

alter table sessions drop column enrolling;
