"""Users: people, and the service accounts that own keys of no person."""
