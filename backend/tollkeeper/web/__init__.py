"""The FastAPI kernel and the HTTP server under both planes: protocol limits, the server, dependencies, errors."""
