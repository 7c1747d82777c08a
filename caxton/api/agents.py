"""/api/v1/agents: deploy, look at, update, start, stop and remove agents; and their log lines."""

import time
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, request

from caxton.api.bodies import read_body
from caxton.api.deployments import Deployment, body_limit, read_deployment
from caxton.api.messages import check_json
from caxton.api.ports import Node
from caxton.api.wire import agent_detail, agent_summary, answer, moment, names, number, whole
from caxton.core.agent import AgentState
from caxton.core.decoding import UNREADABLE
from caxton.core.errors import InvalidRequest
from caxton.core.views import AgentInfo

DEPLOY_TIMEOUT = 120.0  # compiling has its own, shorter limit
CHANGE_TIMEOUT = 30.0
MAX_GRACE = 600.0


class StopRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    grace_period_seconds: float = 30.0
    drain_messages: bool = True


def agents_blueprint(node: Node) -> Blueprint:
    room = Blueprint("agents", __name__, url_prefix="/api/v1")

    async def deployment() -> Deployment:
        body = await read_body(request.body, length=request.content_length, limit=body_limit(node.limits))
        # a module may have megabytes of base64: off the loop
        return await trio.to_thread.run_sync(read_deployment, body, request.content_type or "", node.limits)

    @room.post("/agents")
    async def deploy_agent() -> Response:
        asked = await deployment()
        config = asked.agent_config(node.limits)
        with trio.fail_after(DEPLOY_TIMEOUT):
            if asked.kind == "attached":
                if asked.wasm_module is not None:
                    raise InvalidRequest("an attached agent lives outside and has no module; leave wasm_module out")
                agent = await node.agents.attach(config)
            elif not asked.wasm_module:
                raise InvalidRequest(
                    "the module is missing",
                    hint="send it as the part 'wasm' (multipart) or as base64 in 'wasm_module' (JSON), "
                    'or say "kind": "attached" for an agent that lives outside',
                )
            else:
                agent = await node.agents.deploy(asked.wasm_module, config)
        return answer(_deployed(agent), 201, {"Location": f"/api/v1/agents/{agent.name}"})

    @room.get("/agents")
    async def list_agents() -> Response:
        status = request.args.get("status")
        if status is not None and status not in {state.value for state in AgentState}:
            raise InvalidRequest(f"status={status!r} is not one of {', '.join(AgentState)}")
        limit = whole(request.args, "limit", 100, 1, 1000)
        offset = whole(request.args, "offset", 0, 0, 2**31)
        agents, total = node.agents.list(status, limit, offset)
        end = offset + len(agents)
        rows = [agent_summary(agent) for agent in agents]
        return answer({"agents": rows, "total": total, "next_offset": end if end < total and agents else None})

    @room.get("/agents/<path:name>")
    async def get_agent(name: str) -> Response:
        return answer(agent_detail(node.agents.get(name)))

    @room.get("/agents/<path:name>/status")
    async def get_agent_status(name: str) -> Response:
        agent = node.agents.get(name)
        return answer({"agent_id": agent.agent_id, "name": agent.name, "status": agent.status, "reason": agent.reason})

    @room.get("/agents/<path:name>/inspect")
    async def inspect_agent(name: str) -> Response:
        with trio.fail_after(CHANGE_TIMEOUT):
            return answer(await node.agents.inspect(name))

    @room.put("/agents/<path:name>")
    async def update_agent(name: str) -> Response:
        asked = await deployment()
        if asked.wasm_module is None and asked.config is None:
            raise InvalidRequest("nothing to update: send wasm_module, config or both")
        config = None if asked.config is None else asked.agent_config(node.limits, name)
        with trio.fail_after(DEPLOY_TIMEOUT):
            agent = await node.agents.update(name, asked.wasm_module, config)
        return answer(_deployed(agent) | {"deployment_id": f"{agent.agent_id}-{agent.version}"})

    @room.post("/agents/<path:name>/start")
    async def start_agent(name: str) -> Response:
        with trio.fail_after(DEPLOY_TIMEOUT):
            return answer(_deployed(await node.agents.start(name)))

    @room.post("/agents/<path:name>/stop")
    async def stop_agent(name: str) -> Response:
        body = await read_body(request.body, length=request.content_length, limit=4096)
        check_json(request.content_type or "")
        try:
            asked = msgspec.json.decode(body or b"{}", type=StopRequest)
        except UNREADABLE as error:
            raise InvalidRequest(f"the request does not say how to stop: {error}") from None
        if not 0 <= asked.grace_period_seconds <= MAX_GRACE:
            raise InvalidRequest(f"grace_period_seconds={asked.grace_period_seconds:g} is not from 0 to {MAX_GRACE:g}")
        with trio.fail_after(asked.grace_period_seconds + CHANGE_TIMEOUT):
            agent = await node.agents.stop(name, asked.grace_period_seconds, asked.drain_messages)
        done = time.time() + (asked.grace_period_seconds if agent.status == AgentState.DRAINING else 0)
        return answer(
            {
                "agent_id": agent.agent_id,
                "name": agent.name,
                "status": agent.status,
                "estimated_completion": moment(done),
            }
        )

    @room.delete("/agents/<path:name>")
    async def delete_agent(name: str) -> Response:
        with trio.fail_after(CHANGE_TIMEOUT):
            agent = await node.agents.delete(name)
        return answer({"agent_id": agent.agent_id, "status": "removed", "removed_at": moment(time.time())})

    @room.get("/logs")
    async def get_logs() -> Response:
        since = number(request.args, "since", 0.0, 0.0, 1e12)
        limit = whole(request.args, "limit", 1000, 1, 10_000)
        lines = node.agents.logs(names(request.args, "agents"), since or None, limit)
        return answer(
            {
                "lines": [
                    {"agent": line.agent, "stream": line.stream, "text": line.text, "timestamp": moment(line.at)}
                    for line in lines
                ]
            }
        )

    return room


def _deployed(agent: AgentInfo) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "name": agent.name,
        "status": agent.status,
        "kind": agent.kind,
        "version": agent.version,
        "deployed_at": moment(agent.deployed_at),
        "replicas": agent.replicas,
        "replicas_ready": agent.replicas_ready,
        "reason": agent.reason,
        "unavailable_imports": agent.unavailable_imports,
    }
