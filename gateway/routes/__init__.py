"""HTTP only, one file per resource; every URL is in urls.py. What model calls need is imported without the others."""
