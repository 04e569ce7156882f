"""The generated parts of the pages in docs/, and what MkDocs needs beside them.

`python -m scripts.pages` writes them; `make docs` builds the site from the pages.
"""
