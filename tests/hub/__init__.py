"""A class on one JupyterHub: twenty readers open and run notebook 05 at once. Run with `make test-hub`."""
