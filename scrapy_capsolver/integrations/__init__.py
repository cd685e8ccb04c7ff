"""One module per foreign package that the plugin works with."""
