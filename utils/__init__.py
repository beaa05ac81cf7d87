"""Helper package of the PyTorch course: each chapter teaches a thing before it imports it from here.

The modules are listed from the ground up; each may import only those above it:

``runtime``      device, seeds, progress, the course's error type
``metrics``      accuracy, MAE, RMSE, WMAPE
``datasets``     every data set by name: bundled, or fetched once and verified
``timeseries``   windows, chronological splits, scaling, the seasonal baseline
``graphs``       adjacency, its normalisation, station networks
``training``     the fit and evaluate loop of chapters 6 and 8
``plots``        one look for all figures, shown with alt text
``scoreboard``   a chapter records its results and holds them to its bars
``notebooks``    find, read, write and normalise the chapters
``checker``      hold a chapter to its form
``report``       the closing table, the page of a run, the README's table of chapters
``refresh``      execute the committed chapters and store their outputs
``progress``     which exercises are solved
``checks``       instant answers to the exercises, one module a chapter
``exercises``    make the exercise notebooks from the solutions
``grade``        grade a folder of submissions
``worker``       execute one chapter in a process of its own
``run``          run the chapters headless, side by side
``doctor``       look for what is wrong with an installation

Nothing is imported here, so that ``import utils`` costs nothing.
"""
