"""The fit of the notebook: minibatch Adam."""
