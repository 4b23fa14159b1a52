"""PostgreSQL and Redis. Only this package imports their drivers."""
