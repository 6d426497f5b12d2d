"""PostgreSQL: tables, sessions that carry role and tenant, and migrations. Knows nothing of HTTP or of domains."""
