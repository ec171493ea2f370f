"""The course in a real browser: JupyterLab, Voila and the static slides, in the distribution's Chromium.

Run with `make test-browser`. Not part of `make test`: it wants a browser and a few minutes.
"""
