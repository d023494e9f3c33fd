"""Zips: written as a stream, read without trust, and those that other tools left."""
