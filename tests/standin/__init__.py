"""A stand-in for Kimai, for tests and the demo: no PHP, no Symfony, only how its console behaves."""
