"""The control plane: one noun, one folder, each with the files it needs of routes, schemas, service and repository."""
