-- When and where each session is used, so that users can review their sessions, and idle ones end.
-- depends: 0003_book_any_seat

-- migrate: apply

alter table sessions
    add column seen_at timestamptz not null default now(),
    add column address text not null default '',
    add column device text not null default '',
    add constraint sessions_address_check check (char_length(address) <= 64),
    add constraint sessions_device_check check (char_length(device) <= 300);

alter table audit
    drop constraint audit_action_check,
    add constraint audit_action_check check (
        action in ('register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change')
    );

-- migrate: rollback

alter table audit
    drop constraint audit_action_check,
    add constraint audit_action_check check (
        action in ('register', 'sign_in', 'sign_out', 'book', 'move', 'cancel')
    ) not valid;

alter table sessions
    drop column device,
    drop column address,
    drop column seen_at;
