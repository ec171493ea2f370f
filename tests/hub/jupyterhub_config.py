"""A JupyterHub for one class on one machine; also the recipe: copy it, change the authenticator and the address.

Every user has a folder of their own with a copy of the notebooks; the library and the sample modules are shared and are
only read. KLPTEACH_COURSE: the repository. KLPTEACH_CLASS: where the users' folders are made.
"""

import os
import shutil
from pathlib import Path

COURSE, CLASS = Path(os.environ["KLPTEACH_COURSE"]), Path(os.environ["KLPTEACH_CLASS"])


def hand_out(spawner):
    """Before a user's server starts: give them the notebooks that they do not have yet, and leave alone what they changed."""
    folder = CLASS / spawner.user.name / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (COURSE / "notebooks").iterdir():
        if file.is_file() and not (folder / file.name).exists():
            shutil.copy(file, folder)


c = get_config()  # noqa: F821
c.JupyterHub.bind_url = os.environ.get("KLPTEACH_HUB", "http://127.0.0.1:8000")
c.JupyterHub.hub_bind_url = os.environ.get("KLPTEACH_HUB_API", "http://127.0.0.1:8081")
c.JupyterHub.db_url = f"sqlite:///{CLASS / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(CLASS / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(CLASS / "proxy.pid")
c.ConfigurableHTTPProxy.api_url = os.environ.get("KLPTEACH_PROXY_API", "http://127.0.0.1:8001")
c.ConfigurableHTTPProxy.command = [str(COURSE / "build/npm/node_modules/.bin/configurable-http-proxy")]
c.JupyterHub.authenticator_class = "dummy"  # a real class: PAM, OAuth, LTI …
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"  # a real class: one system user each, or a container each
c.SimpleLocalProcessSpawner.home_dir_template = f"{CLASS}/{{username}}"
c.Spawner.pre_spawn_hook = hand_out
c.Spawner.notebook_dir = "~"
c.Spawner.default_url = "/lab/tree/notebooks/00-start-here.ipynb"
# A kernel's TCP ports are looked for before it starts and taken when it has started. Twenty who start one at once find
# the same: a kernel dies of it, or two share a channel. Unix sockets have a name each; a path has 107 characters at most.
c.Spawner.args = ["--KernelManager.transport=ipc"] + ["--allow-root"] * (os.geteuid() == 0)
c.Spawner.environment = {
    "JUPYTER_RUNTIME_DIR": lambda spawner: str(CLASS / spawner.user.name / "run"),
    "KLPTEACH_DATA": str(COURSE / "data"),
    "PYTHONDONTWRITEBYTECODE": "1",
}
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.JupyterHub.services = [{"name": "class", "api_token": os.environ["KLPTEACH_TOKEN"]}]
c.JupyterHub.load_roles = [
    {"name": "class", "services": ["class"], "scopes": ["admin:users", "admin:servers", "access:servers"]}
]
