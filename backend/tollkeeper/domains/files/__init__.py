"""Files of OpenAI's Files API: their bytes sealed in the object store, each for the tenant and project it came from."""
