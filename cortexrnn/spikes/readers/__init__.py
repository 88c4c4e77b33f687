"""One file a format; each reader returns plain arrays, `read.py` makes the Recording of them."""
