"""Between ASGI and the stages: ids, limits of what comes in, answers and errors going out."""
