"""Published figures and recordings, run through the package."""
