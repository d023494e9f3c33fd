"""Targets that keep backups, behind the five verbs of base."""
