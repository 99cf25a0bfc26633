"""What can be checked without another process."""
