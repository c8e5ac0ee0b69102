"""What a learned model has to beat: simple recommenders, tuned on validation and scored by the same protocol."""
