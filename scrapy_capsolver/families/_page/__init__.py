"""Readers of what a page holds."""
