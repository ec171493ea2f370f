"""Random stories: commands about a few sample modules of a kernel, decided by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from klpteach import Kernel
from klpteach.files.samples import ko_dir

DEFECTS = ("", "", "+symbol-missing", "+nonzero-site")


def story(chance: random.Random, kernel: Kernel) -> Iterator[str]:
    """Commands about a few modules, so that they meet: most of them make sense, some do not."""
    folder = ko_dir(kernel.arch.name, kernel.rules.release)
    names = sorted(path.stem for path in folder.glob("*.ko"))
    patches = [name for name in names if name.startswith("livepatch_")]
    cast = [*chance.sample(names, 2), *chance.sample(patches, 3), *["nfsd_demo", "lockd_demo"] * 2]

    def one(kind: Callable[[str], bool] = lambda name: True) -> str:
        return chance.choice([name for name in cast if kind(name)])

    def livepatch() -> str:
        return one(lambda name: name.startswith("livepatch_"))

    def there(kind: Callable[[str], bool] = lambda name: True) -> str:
        """Mostly a module that is loaded, the target of a livepatch as likely as any."""
        loaded = [mod.name for mod in kernel.modules if kind(mod.name)]
        return chance.choice(loaded) if loaded and chance.random() < 0.9 else one()

    def number() -> str:
        return chance.choice(["0", "1", "N", "on", "2"])

    commands: list[Callable[[], str]] = [
        lambda: f"insmod livepatch_nfsd_demo{chance.choice(DEFECTS)}.ko",
        lambda: f"insmod {one()}.ko",
        lambda: f"insmod {livepatch()}.ko",
        lambda: (
            f"insmod livepatch_callbacks.ko pre_patch_ret={chance.choice(['0', '-19', 'x'])}"
            if "livepatch_callbacks" in names
            else "boot"
        ),
        lambda: f"modprobe {one().replace('_', chance.choice('_-'))}",
        lambda: f"rmmod {there()}",
        lambda: f"rmmod {there()}",
        lambda: f"rmmod {there(lambda name: not name.startswith('livepatch_'))}",
        lambda: f"echo {number()} > /sys/kernel/livepatch/{there()}/{chance.choice(['enabled', 'enabled', 'force'])}",
        lambda: f"echo 0 > /sys/kernel/livepatch/{there()}/enabled",
        lambda: f"echo {number()} > /sys/module/busy_demo/parameters/block_transition",
        lambda: f"insmod {one(lambda name: not name.startswith('livepatch_'))}.ko &",
        lambda: f"wait {there()}",
        lambda: f"fill {chance.randrange(3)}",
        lambda: f"cat /proc/{there()}",
        lambda: f"modprobe no_{one()}",
    ]
    for _ in range(chance.randrange(4, 20)):
        yield chance.choice(commands)()
