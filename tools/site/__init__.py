"""The course as a website: ``python -m tools.site`` (``make site``).

``links``      where a file of the repository stands on the site
``chapters``   a chapter, and its exercises with folded solutions, as pages
``home``       the landing page: the map and the cards of the chapters
``pages``      all other pages, from documents and from generators
``figures``    gives the figures on the pages their descriptions
``conf``       settings of Sphinx
``build``      stage the sources, run Sphinx, check, replace the old site
``check``      hold a built site to its promises
"""
