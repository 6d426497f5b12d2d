"""The stages of a call, one file each; strangers to one another. `gateway/pipeline.py` is their order."""
