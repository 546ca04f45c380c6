"""What a report is made of: plots, HTML that escapes by itself, and the sections."""
