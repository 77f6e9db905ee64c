"""Says what is in a data set, and what of it a build would refuse or regret."""
