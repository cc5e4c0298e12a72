"""Front ends: the web app, the command line, the viewer."""
