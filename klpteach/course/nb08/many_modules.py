"""Forty real modules by name, with the dependencies that their files state, and a livepatch for any of them.

For notebook 08. What each module needs is the `depends=` of Debian's linux-image-6.1.0-56-amd64 (6.1.192-2). The files
themselves are made here: one function, one entry for ftrace. The model loads them like any other; no init() fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ...files.elf_h import EM_X86_64
from ...files.klp_patch import KLP_FUNC_SIZE, KLP_OBJECT_SIZE, KLP_PATCH_OBJS, KLP_PATCH_REPLACE
from ...files.module_file import ModuleFile
from ...files.relocation_types import POINTER_TYPE
from ...files.samples import open_ko
from ...files.write import tiny_module
from ...model.kernel import Kernel

_STATED = """
act_pedit auth_rpcgss:sunrpc bluetooth:ecdh_generic,rfkill,crc16 bridge:llc,stp
btrfs:zstd_compress,raid6_pq,xor,libcrc32c can cdrom cec:rc_core ceph:libceph,fscache,netfs
cifs:cifs_md4,fscache,dns_resolver,cifs_arc4 cifs_arc4 cifs_md4 cls_flower crc16 crc_itu_t dm_mod dns_resolver drm
drm_buddy:drm drm_display_helper:drm,cec,drm_kms_helper drm_kms_helper:drm e1000e ecc ecdh_generic:ecc
ext4:jbd2,mbcache,crc16 f2fs:zstd_compress,lz4_compress,lz4hc_compress fscache:netfs fuse grace i2c_algo_bit
i915:ttm,drm,drm_display_helper,drm_kms_helper,video,cec,drm_buddy,i2c_algo_bit ip6_udp_tunnel ip_set:nfnetlink
irqbypass isofs:cdrom jbd2 ksmbd:cifs_arc4 kvm:irqbypass libceph:libcrc32c libcrc32c
libiscsi:scsi_transport_iscsi,scsi_mod,scsi_common llc lockd:sunrpc,grace lz4_compress lz4hc_compress mbcache
md_mod mii netfs nf_conntrack:nf_defrag_ipv4,nf_defrag_ipv6,libcrc32c nf_defrag_ipv4 nf_defrag_ipv6
nf_tables:nfnetlink,libcrc32c nfnetlink nfs:sunrpc,fscache,lockd nfs_acl:sunrpc
nfsd:sunrpc,lockd,grace,nfs_acl,auth_rpcgss nfsv4:sunrpc,nfs,dns_resolver overlay raid6_pq rc_core rds rfkill
sch_qfq scsi_common scsi_mod:scsi_common scsi_transport_iscsi:scsi_mod sctp:udp_tunnel,ip6_udp_tunnel,libcrc32c
snd:soundcore snd_pcm:snd,snd_timer snd_timer:snd soundcore stp:llc sunrpc tap tipc:udp_tunnel,ip6_udp_tunnel
ttm:drm tun udf:cdrom,crc_itu_t udp_tunnel usb_common usbcore:usb_common usbnet:usbcore,mii vhost:vhost_iotlb
vhost_iotlb vhost_net:vhost,tap,tun video:wmi wmi xfs:libcrc32c xor zstd_compress
"""
_parted = (word.partition(":") for word in _STATED.split())
NEEDS: Mapping[str, tuple[str, ...]] = {name: tuple(filter(None, needed.split(","))) for name, _, needed in _parted}
FORTY: tuple[str, ...] = (
    "nfsd", "nfs", "nfsv4", "lockd", "sunrpc", "cifs", "ksmbd", "fuse", "overlay", "ext4", "xfs", "btrfs", "f2fs", "ceph",
    "udf", "isofs", "kvm", "vhost", "vhost_net", "tun", "bridge", "nf_tables", "nf_conntrack", "ip_set", "sch_qfq",
    "cls_flower", "act_pedit", "sctp", "tipc", "rds", "can", "bluetooth", "usbnet", "snd_pcm", "drm", "i915", "dm_mod",
    "md_mod", "libiscsi", "e1000e",
)  # fmt: skip
IN_USE = ("ext4", "e1000e", "fuse")
LIVEPATCH = "livepatch_all"
PATCH_SIZE = 128  # room for a struct klp_patch
POINTER = POINTER_TYPE[EM_X86_64]


def many_modules(targets: Sequence[str] = FORTY, proposals: Iterable[str] = (), records_state: bool = True) -> Kernel:
    """A 6.1 on which the modules above and a cumulative livepatch for some of them are installed."""

    def open_file(folder: Path, file: str) -> ModuleFile:
        name = file.removesuffix(".ko")
        if name == LIVEPATCH:
            return cumulative(tuple(targets))
        return target(name) if name in NEEDS else open_ko(folder, file)

    return Kernel(proposals=proposals, open_file=open_file, records_state=records_state)


def loaded(
    in_use: Iterable[str], targets: Sequence[str] = FORTY, proposals: Iterable[str] = (), patch: bool = True
) -> list[str]:
    """The modules that are loaded after modprobe of those in use, and then of the livepatch; oldest first."""
    kernel = many_modules(targets, proposals, records_state=False)
    for name in in_use:
        kernel.modprobe(name)
    if patch:
        kernel.modprobe(LIVEPATCH)
    return [mod.name for mod in kernel.modules]


@lru_cache(maxsize=128)
def target(name: str) -> ModuleFile:
    """A module of that name, with one function that can be patched, and the `depends=` of the real one."""
    sections: dict[str, bytes | int] = {".text": bytes(32), "__mcount_loc": bytes(8)}
    symbols = [(f"{name}_work", ".text", 0)]
    calls = [("__mcount_loc", 0, POINTER, f"{name}_work", 0)]
    info = {"depends": ",".join(NEEDS[name])}
    return ModuleFile(tiny_module(name, sections, symbols, calls, info), f"{name}.ko")


@lru_cache(maxsize=64)
def cumulative(targets: tuple[str, ...]) -> ModuleFile:
    """A livepatch that replaces one function in each target, and takes the place of all older ones."""
    objs, funcs, strings = PATCH_SIZE, PATCH_SIZE + (len(targets) + 1) * KLP_OBJECT_SIZE, bytearray()
    pointers = [(0, "__this_module", 0), (KLP_PATCH_OBJS, "__data", objs)]
    for number, name in enumerate(targets):  # each array of functions ends in an empty one
        obj, func = objs + number * KLP_OBJECT_SIZE, funcs + 2 * number * KLP_FUNC_SIZE
        pointers += [(obj, "__strings", len(strings)), (obj + 8, "__data", func)]
        strings += name.encode() + b"\0"
        pointers += [(func, "__strings", len(strings)), (func + 8, "__text", 32 * number)]
        strings += f"{name}_work".encode() + b"\0"
    data = bytearray(funcs + 2 * len(targets) * KLP_FUNC_SIZE)
    data[KLP_PATCH_REPLACE] = 1
    code = bytes(32 * len(targets))
    sections: dict[str, bytes | int] = {".text": code, ".data": bytes(data), ".rodata.str": bytes(strings)}
    symbols: list[tuple[str, str | None, int]] = [
        ("__this_module", ".gnu.linkonce.this_module", 0), ("__data", ".data", 0), ("__strings", ".rodata.str", 0),
        ("__text", ".text", 0), ("klp_enable_patch", None, 0),  # by this import a livepatch is known
    ]  # fmt: skip
    relocations = [(".data", offset, POINTER, symbol, addend) for offset, symbol, addend in pointers]
    return ModuleFile(tiny_module(LIVEPATCH, sections, symbols, relocations, {"livepatch": "Y"}), f"{LIVEPATCH}.ko")


def needed_by(names: Iterable[str]) -> set[str]:
    """These modules and everything that they need, directly or not.

    >>> sorted(needed_by(["lockd"]))
    ['grace', 'lockd', 'sunrpc']
    """
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += NEEDS[name]
    return found
