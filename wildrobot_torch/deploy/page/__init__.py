"""One static web page that drives a policy in the browser; the page's own files are in `site`."""
