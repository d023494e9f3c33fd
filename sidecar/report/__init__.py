"""What is told of runs: log, progress, metrics, and the status page in `web/`."""
