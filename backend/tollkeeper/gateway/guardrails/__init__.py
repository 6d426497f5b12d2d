"""The rules there are. One file or folder each; none knows another."""
