"""Captioners: put a window into words."""
