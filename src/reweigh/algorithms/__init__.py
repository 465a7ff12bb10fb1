"""One paper, one file: a frozen config and pure functions over minibatches."""
