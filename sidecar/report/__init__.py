"""What a run tells: log, progress."""
