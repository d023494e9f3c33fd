"""The status page, with metrics and health beside it: read-only, made on the server, nothing fetched from outside."""
