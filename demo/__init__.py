"""`make demo`: a throwaway Kimai is backed up, lost, restored and compared, with the real commands."""
