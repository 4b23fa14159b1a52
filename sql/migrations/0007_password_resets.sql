-- Codes to replace a forgotten password.
-- depends: 0006_second_factors

-- migrate: apply

create table password_resets (
    user_id bigint primary key references users,
    code_hash text not null,
    expires_at timestamptz not null
);

alter table audit drop constraint audit_action_check;

alter table audit add constraint audit_action_check check (
    action in (
        'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
        'grant', 'revoke', 'disable', 'enable', 'delete_account',
        'second_factor_add', 'second_factor_remove', 'recovery_codes', 'recovery_code_use', 'passkey_add',
        'passkey_remove', 'password_reset_code'
    )
);

-- migrate: rollback

alter table audit drop constraint audit_action_check;

alter table audit add constraint audit_action_check check (
    action in (
        'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
        'grant', 'revoke', 'disable', 'enable', 'delete_account',
        'second_factor_add', 'second_factor_remove', 'recovery_codes', 'recovery_code_use', 'passkey_add',
        'passkey_remove'
    )
) not valid;

drop table password_resets;
