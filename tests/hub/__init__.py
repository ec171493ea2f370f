"""A class on one JupyterHub: ten users open and run notebook 05 at once. Run with `make test-hub`."""
