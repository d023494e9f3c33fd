"""`python -m sidecar` is `kimai-backup`."""

from sidecar.cli import main

if __name__ == "__main__":
    main()
