"""The embedded recording, its card, and the script that makes it."""
