"""Checks without another process."""
