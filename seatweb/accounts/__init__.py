"""Who people are: registration, sign-in, sessions, second factors, roles."""
