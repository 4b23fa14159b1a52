"""PostgreSQL and Redis: the only importers of their drivers."""
