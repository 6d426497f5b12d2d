"""Mail: messages of the gateway itself, sent as jobs."""
