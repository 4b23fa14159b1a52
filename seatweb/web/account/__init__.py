"""Pages about the user's account: signing in, passwords, second factors, personal data."""
