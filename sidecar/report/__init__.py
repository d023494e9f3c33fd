"""What a run tells: log, progress, notices, heartbeats."""
