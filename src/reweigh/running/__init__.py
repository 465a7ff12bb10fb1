"""What a run goes through between its data and its result; `experiment.py` puts it together."""
