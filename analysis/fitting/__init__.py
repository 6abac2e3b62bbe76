"""Laws fitted to edges: likelihood, maximum, profiles, bootstrap, choice among laws."""
