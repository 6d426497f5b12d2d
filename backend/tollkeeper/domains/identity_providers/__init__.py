"""OpenID Connect issuers a tenant trusts: people sign in through them, workloads call with their tokens."""
