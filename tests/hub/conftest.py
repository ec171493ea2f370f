"""The hub's configuration is read by the hub, not by pytest."""

collect_ignore = ["jupyterhub_config.py"]
