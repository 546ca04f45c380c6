"""taggen report."""
