"""Published circuits as data."""
