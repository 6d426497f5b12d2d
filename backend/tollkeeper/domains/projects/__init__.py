"""Projects: what keys are for, in a team or directly in the tenant, within limits of their own."""
