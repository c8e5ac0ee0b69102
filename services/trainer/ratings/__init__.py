"""Foretelling the value of a rating, and how well that is done."""
