"""The commands: what each takes, what it prints, and the exit code that it ends with."""
