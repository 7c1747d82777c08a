"""/api/v1/backups: make, list, fetch and remove backups of the running server."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import trio
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.messages import check_json
from caxton.api.ports import Backup, Node
from caxton.api.wire import answer, moment
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest

CHUNK = 1 << 20


class BackupRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = ""


def backups_blueprint(node: Node) -> Blueprint:
    room = Blueprint("backups", __name__, url_prefix="/api/v1/backups")

    @room.post("")
    async def create_backup() -> Response:
        body = await read_body(request.body, length=request.content_length, limit=4096)
        check_json(request.content_type or "")
        try:
            asked = msgspec.json.decode(body or b"{}", type=BackupRequest)
        except UNREADABLE as error:
            raise InvalidRequest(f"the request does not describe a backup: {error}") from None
        backup = await node.backups.create(asked.name)
        return answer(_shown(backup), 201, {"Location": f"/api/v1/backups/{backup.name}"})

    @room.get("")
    async def list_backups() -> Response:
        found = await node.backups.list()
        return answer({"backups": [_shown(backup) for backup in found], "total": len(found)})

    @room.get("/<name>")
    async def get_backup(name: str) -> Response:
        path = node.backups.find(name)
        size = (await trio.Path(path).stat()).st_size
        headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{name}"'}
        response = Response(_chunks(path, size), headers=headers, content_type="application/x-tar")
        response.timeout = None
        return response

    @room.delete("/<name>")
    async def delete_backup(name: str) -> Response:
        await node.backups.delete(name)
        return answer({"name": name, "status": "removed"})

    return room


async def _chunks(path: Path, size: int) -> AsyncIterator[bytes]:
    async with await trio.open_file(path, "rb") as file:
        while data := await file.read(min(CHUNK, size)):
            size -= len(data)
            yield data


def _shown(backup: Backup) -> dict[str, object]:
    return {"name": backup.name, "size": backup.size, "created_at": moment(backup.created_at)}
