"""One snapshot of a database as plain SQL rendered by the server, and its way back."""
