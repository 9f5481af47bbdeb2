"""Procedural paintings: one module per painting, and the tools they share."""
