"""What is told of runs: log, progress, notices, heartbeats, metrics, and the status page in `web/`."""
