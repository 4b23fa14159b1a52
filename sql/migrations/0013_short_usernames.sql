-- Usernames of one or two characters. Which ones are accepted is decided in seatweb/accounts/usernames.py.
-- depends: 0012_renamed_sections

-- migrate: apply

alter table users drop constraint users_username_check;
alter table users add constraint users_username_check check (char_length(username) between 1 and 50);

-- migrate: rollback

alter table users drop constraint users_username_check;
alter table users add constraint users_username_check check (char_length(username) between 3 and 50);
