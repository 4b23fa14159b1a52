"""User accounts: registration, sign-in, sessions, second factors, roles."""
