"""Settings of Sphinx. Nothing is fetched, neither while the site is built nor by its pages."""

project = "PyTorch course"
author = "the authors of the PyTorch course"
html_title = "PyTorch course"
language = "en"

extensions = ["myst_nb", "sphinx.ext.githubpages", "tools.site.figures"]
nitpicky = True
exclude_patterns = ["files"]

# --- notebooks and markdown
nb_execution_mode = "off"  # the outputs are those that were committed
nb_merge_streams = True
nb_ipywidgets_js = {}  # would be fetched from elsewhere
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_allow_digits = False

# --- pages
html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
templates_path = ["_templates"]
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-api-name": "inherit"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# --- formulas: one file with all fonts in it, and no menu, which would load parts that are not here
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}
