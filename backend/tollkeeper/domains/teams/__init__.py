"""Teams: people of a tenant who share projects and keys, within limits of their own."""
