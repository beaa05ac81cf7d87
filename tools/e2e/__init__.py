"""Both ways into the course, proven in a real browser: ``python -m tools.e2e`` (``make e2e``).

``report``    what was checked, what failed, and the screenshots beside it
``browser``   Chromium without a window, and a watch on everything a page loads and complains about
``servers``   a JupyterLab and a web server of our own, ended whatever happens
``access``    the accessibility checker axe
``lab``       JupyterLab: run chapters, solve an exercise, both themes
``site``      the website: every page, links, search, dark mode, phone and desktop
"""
