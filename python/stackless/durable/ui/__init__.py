"""The page of durable workflows: `python -m stackless durable ui`.

`site` has the pages (Bottle, a WSGI framework), `access` who may see them, `command` serves them
with the package's own WSGI server. Templates, style and script are the other files of this folder;
the page loads nothing from elsewhere.
"""
