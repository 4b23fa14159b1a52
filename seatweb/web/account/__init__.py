"""Pages about the user's account: sign-in, passwords, second factors and personal data."""
