"""The control plane's address space."""
