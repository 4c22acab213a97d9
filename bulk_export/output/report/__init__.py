"""A finished export or a copy as one HTML file for people: values -> `model.Report` -> `page.html_text`."""
