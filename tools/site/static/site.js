// Pages that are opened as files may not read each other: search then shows titles, without excerpts.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// What scrolls must be reachable without a mouse; what is folded away shows its size when it opens.
function makeScrollingBoxesReachable() {
  const boxes = "pre, .table-wrapper, .cell_output .text_html, div.math, .math-wrapper, .map";
  for (const box of document.querySelectorAll(boxes)) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) {
      box.tabIndex = 0;
    }
  }
}
document.addEventListener("DOMContentLoaded", makeScrollingBoxesReachable);
document.addEventListener("toggle", makeScrollingBoxesReachable, true);
window.addEventListener("resize", makeScrollingBoxesReachable);

// The theme calls the captions of its menu headings, but does not say of which level.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll('.caption[role="heading"]')) {
    caption.setAttribute("aria-level", "2");
  }
});
