"""`make bench`: what a backup and a restore cost, beside the native clients, in the same run on the same server."""
