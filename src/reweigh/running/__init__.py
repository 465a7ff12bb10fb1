"""The steps of a run between its data and its result; `experiment.py` puts them together."""
