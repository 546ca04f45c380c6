"""Measures of predicted tags, streamed and mergeable; numpy only."""
