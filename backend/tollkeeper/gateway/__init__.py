"""The data plane: pure ASGI, no SQL, no FastAPI. Starts at `app.py`; `pipeline.py` is the order of work."""
