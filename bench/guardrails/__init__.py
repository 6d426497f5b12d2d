"""What the guardrails are measured on, made from a seed: nobody's data, nobody's texts."""
