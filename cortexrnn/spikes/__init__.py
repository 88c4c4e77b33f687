"""What was recorded: recordings, readers, alignment, folds, checks of a recording."""
