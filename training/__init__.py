"""Networks, trainings, export and evaluation; the parts with torch need the train extra."""
