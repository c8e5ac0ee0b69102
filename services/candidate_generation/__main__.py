"""Runs candidate generation alone: `python -m services.candidate_generation`."""
