"""The course as static pages: notebooks with their outputs, and explorers that work without a kernel and without a network.

build.py writes the folder. tellings.py runs every story in advance and packs what the explorer would draw; shell.py is the
frame of a page; cells.py, grid.py, talk.py and pages.py are what stands in it; site.js brings it to life in a browser.
"""
