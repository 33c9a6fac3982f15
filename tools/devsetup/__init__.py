"""Set-up of a clone, on the standard library alone: it runs before anything is installed."""
