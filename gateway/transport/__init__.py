"""Takes calls from the network and gives answers back."""
