"""What WASI has and no agent does, as tables: for the tests of both kinds of agents, and of docs/security.md."""

from tests._fast.components import Guest, text

# interfaces of WASI 0.2 and their functions: files, sockets, time zones, HTTP; some of other versions and packages
OUTSIDE = {
    "wasi:filesystem/types@0.2.9": (
        "filesystem-error-code",
        "[method]descriptor.open-at",
        "[method]descriptor.read-via-stream",
        "[method]descriptor.write",
        "[method]descriptor.read-directory",
        "[method]descriptor.unlink-file-at",
    ),
    "wasi:sockets/network@0.2.9": ("network-error-code",),
    "wasi:sockets/instance-network@0.2.9": ("instance-network",),
    "wasi:sockets/ip-name-lookup@0.2.9": (
        "resolve-addresses",
        "[method]resolve-address-stream.resolve-next-address",
    ),
    "wasi:sockets/tcp@0.2.9": (
        "[method]tcp-socket.start-bind",
        "[method]tcp-socket.start-connect",
        "[method]tcp-socket.start-listen",
        "[method]tcp-socket.accept",
    ),
    "wasi:sockets/tcp-create-socket@0.2.9": ("create-tcp-socket",),
    "wasi:sockets/udp@0.2.9": ("[method]udp-socket.start-bind", "[method]udp-socket.stream"),
    "wasi:sockets/udp-create-socket@0.2.9": ("create-udp-socket",),
    "wasi:http/types@0.2.9": ("http-error-code", "[constructor]fields", "[static]response-outparam.set"),
    "wasi:http/outgoing-handler@0.2.9": ("handle",),
    "wasi:http/incoming-handler@0.2.9": ("handle",),
    "wasi:clocks/timezone@0.2.9": ("display", "utc-offset"),
    "wasi:process/spawn@0.1.0": ("spawn",),
    "wasi:keyvalue/store@0.2.0-draft": ("open",),
    "wasi:blobstore/blobstore@0.2.0-draft": ("create-container",),
    "wasi:config/store@0.2.0-rc.1": ("get",),
    "wasi:messaging/producer@0.2.0-draft": ("send",),
    "wasi:nn/inference@0.2.0-rc-2024-10-28": ("[method]graph-execution-context.compute",),
    "wasi:threads/threads@0.2.9": ("spawn",),
    "wasi:cli/stdin@0.3.0": ("read-via-stream",),
    "wasi:clocks/monotonic-clock@0.3.0": ("wait-for",),
}

# functions of interfaces that are there, that are not
OUTSIDE_FUNCTIONS = {
    "wasi:io/streams@0.2.9": ("[method]output-stream.splice", "[method]output-stream.blocking-splice"),
    "wasi:cli/exit@0.2.9": ("exit-with-code",),
}

# functions of preview 1: files, folders, sockets, signals
OUTSIDE_PREVIEW_1 = (
    *("fd_advise", "fd_allocate", "fd_datasync", "fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size"),
    *("fd_filestat_set_times", "fd_pread", "fd_pwrite", "fd_readdir", "fd_renumber", "fd_sync", "fd_tell"),
    *("path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open"),
    *("path_readlink", "path_remove_directory", "path_rename", "path_symlink", "path_unlink_file"),
    *("proc_raise", "sock_accept", "sock_recv", "sock_send", "sock_shutdown"),
)


def declared(interface: str, functions: tuple[str, ...]) -> str:
    """The import, in the text format. Methods stand without their resources: the host has no such function anyway."""
    names = " ".join(f'(export "{plain(name)}" (func))' for name in functions)
    return f'(import "{interface}" (instance ${label(interface)} {names}))'


def label(interface: str) -> str:
    return "".join(letter if letter.isalnum() else "." for letter in interface)


def plain(name: str) -> str:
    return name.partition("]")[2].replace(".", "-") or name


def calling(interface: str, function: str) -> str:
    """A component that calls it."""
    lowered = f'(core func $outside.call (canon lower (func ${label(interface)} "{plain(function)}")))'
    wat = text(Guest("(call $outside.call)", extra=declared(interface, (function,)) + lowered))
    wat = wat.replace('(with "h" (instance ))', '(with "h" (instance (export "call" (func $outside.call))))')
    return wat.replace('(import "m" "at"', '(import "h" "call" (func $outside.call)) (import "m" "at"')
