"""Fine-tuning jobs that run at vendors: which tenant and project each belongs to."""
