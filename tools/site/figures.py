"""Extension of Sphinx: the figures on the pages keep the descriptions they have in the notebooks."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from utils.notebooks import code_cells, read_notebook


def descriptions(notebook: Path) -> dict[str, str]:
    """Return the description of each picture of a notebook by the SHA-256 of its bytes.

    myst-nb writes a picture to a file of that name, and drops the description.
    """
    return {
        hashlib.sha256(a2b_base64(output["data"]["image/png"])).hexdigest(): metadata["alt"]
        for _, cell in code_cells(read_notebook(notebook))
        for output in cell.outputs
        if (metadata := output.get("metadata", {}).get("image/png"))
    }


class DescribeFigures(SphinxTransform):
    """Gives each picture among the outputs its description as ``alt``."""

    default_priority = 210

    def apply(self, **kwargs: Any) -> None:
        source = Path(self.env.doc2path(self.env.docname))
        if source.suffix != ".ipynb":
            return
        known = descriptions(source)
        for image in self.document.findall(nodes.image):
            if alt := known.get(PurePosixPath(image["uri"]).stem):
                image["alt"] = alt


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_transform(DescribeFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
