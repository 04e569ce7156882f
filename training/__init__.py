"""Training, evaluation and export of the networks; most modules need the train extra."""
