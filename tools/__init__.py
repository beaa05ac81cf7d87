"""How the course is proven and published: bands, benchmarks, the website, the browser.

Nothing here is needed to learn with the course or to run it; `utils` never imports it.
"""
