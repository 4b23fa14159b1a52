-- Roles, the actor in the audit trail, and deleted accounts.
-- depends: 0004_sessions

-- migrate: apply

alter table users
    add column role text not null default 'user',
    add column deleted_at timestamptz,
    add constraint users_role_check check (role in ('user', 'admin')),
    add constraint users_deleted_at_check check (deleted_at is null or disabled_at is not null);

alter table audit
    add column actor_id bigint,
    drop constraint audit_action_check,
    add constraint audit_action_check check (
        action in (
            'register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change',
            'grant', 'revoke', 'disable', 'enable', 'delete_account'
        )
    );

create function refuse_disabled() returns trigger language plpgsql as $$
begin
    perform from users where id = new.user_id and disabled_at is null for share;
    if not found then
        raise exception 'the account is disabled'
        using errcode = 'check_violation', constraint = 'bookings_user_counts';
    end if;
    return new;
end
$$;

create trigger bookings_user_counts before insert on bookings
for each row execute function refuse_disabled();

-- migrate: rollback

drop trigger bookings_user_counts on bookings;

drop function refuse_disabled();

alter table audit
    drop column actor_id,
    drop constraint audit_action_check,
    add constraint audit_action_check check (
        action in ('register', 'sign_in', 'sign_out', 'book', 'move', 'cancel', 'password_change')
    ) not valid;

alter table users
    drop column role,
    drop column deleted_at;
