"""Background work: one table, claimed with `SKIP LOCKED`, run in the gateway or by `tollkeeper worker`."""
