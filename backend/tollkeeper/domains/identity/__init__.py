"""Identity: signing in, sessions, who am I, and the first administrator."""
