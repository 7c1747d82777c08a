"""Every key of the configuration acts, or says that it does not.

TESTED names, for each key, the test that sets it and watches what happens; but for those that are `inactive` in the
model: their reason is the review, and `caxton config lint` prints it.
"""

import json
import re
from pathlib import Path

import pytest

from caxton.core.config import load, nested
from caxton.core.config_lint import Machine, lint
from caxton.core.config_tree import leaves

TESTS = Path(__file__).parent.parent

# key: file::test, which names the key or watches what it does
HTTP = "api/test_mtp.py"
TEMP = "node/test_temp.py"
ENGINE = "node/test_runtime_keys.py"
HEALTH = "node/test_health_checks.py"
GATE = "api/test_gate.py"
LOGS = "telemetry/test_log_files.py"
HOOKS = "node/test_webhooks.py"
METER = "node/test_meter.py"
TALKS = "node/test_conversation_keys.py"
TOOLS = "node/test_tools.py"
TRACER = "node/test_tracer.py"
ONE_TRACE = f"{TRACER}::test_a_request_and_the_turns_that_it_causes_are_one_trace"
ROUTES = f"{GATE}::test_each_kind_has_its_own_rate"
TESTED: dict[str, str] = {
    "runtime.max_agents": "node/test_keys_act.py::test_max_agents_and_max_module_size",
    "runtime.max_memory_per_agent": f"{ENGINE}::test_max_memory_per_agent",
    "runtime.scheduler_threads": f"{ENGINE}::test_what_the_engine_lays_out",
    "runtime.pool_slots": f"{ENGINE}::test_pool_slots",
    "runtime.memory_reservation": f"{ENGINE}::test_what_the_engine_lays_out",
    "runtime.max_wasm_stack": f"{ENGINE}::test_max_wasm_stack",
    "runtime.async_stack_size": f"{ENGINE}::test_what_the_engine_lays_out",
    "runtime.keep_resident": f"{ENGINE}::test_keep_resident",
    "runtime.compile_timeout": f"{ENGINE}::test_compiling",
    "runtime.compile_memory": f"{ENGINE}::test_compiling",
    "runtime.max_table_elements": f"{ENGINE}::test_max_table_elements",
    "runtime.component_slots": f"{ENGINE}::test_component_slots",
    "runtime.component_stack": f"{ENGINE}::test_component_stack",
    "messaging.history_messages": "node/test_keys_act.py::test_how_far_back_it_looks",
    "messaging.history_bytes": "node/test_keys_act.py::test_how_far_back_it_looks",
    "directory.lease": "node/test_keys_act.py::test_lease",
    "deployment.health_checks.enabled": f"{HEALTH}::test_nobody_is_asked",
    "deployment.health_checks.initial_delay": f"{HEALTH}::test_when_an_agent_is_asked",
    "deployment.health_checks.interval": f"{HEALTH}::test_when_an_agent_is_asked",
    "deployment.health_checks.timeout": f"{HEALTH}::test_no_answer_in_time_is_a_bad_one",
    "deployment.health_checks.failure_threshold": f"{HEALTH}::test_bad_answers_end_it",
    "deployment.health_checks.success_threshold": f"{HEALTH}::test_bad_answers_end_it",
    "runtime.max_cpu_per_agent": "node/test_keys_act.py::test_what_an_agent_may_have",
    "runtime.default_agent_timeout": "node/test_keys_act.py::test_default_agent_timeout",
    "runtime.max_module_size": "node/test_keys_act.py::test_max_agents_and_max_module_size",
    "runtime.state_quota": "node/test_keys_act.py::test_state_quota",
    "runtime.log_lines_per_second": "node/test_keys_act.py::test_log_lines_per_second",
    "messaging.retry_delay": "node/test_keys_act.py::test_retry_delay",
    "messaging.offline_queue_size": "node/test_delivery_classes.py::test_so_many_wait_for_one_that_is_away_and_no_more",
    "messaging.retention_size": "node/test_dead_letters.py::test_handled_messages_go_when_they_are_too_many",
    "messaging.dedup_size": "node/test_keys_act.py::test_dedup_size",
    "messaging.retention_age": "node/test_keys_act.py::test_retention_age",
    "directory.max_lease": "node/test_keys_act.py::test_the_directory_s_bounds_at_once",
    "directory.max_results": "node/test_keys_act.py::test_the_directory_s_bounds_at_once",
    "server.host": "cli/test_config.py::test_dry_run_says_whether_a_server_would_start",
    "server.port": "cli/test_server.py::test_a_taken_port_is_said",
    "server.tls.enabled": "api/test_tls.py::test_https_and_nothing_else",
    "server.tls.cert_path": "api/test_tls.py::test_certificates_are_read_again",
    "server.tls.key_path": "api/test_tls.py::test_files_that_are_wrong",
    "server.tls.ca_path": "api/test_tls.py::test_clients_without_a_certificate_are_refused",
    "server.tls.min_version": "api/test_tls.py::test_old_versions_are_refused",
    "integrations.webhooks.enabled": f"{HOOKS}::test_a_node_tells",
    "integrations.webhooks.endpoints": f"{HOOKS}::test_a_node_tells",
    "integrations.webhooks.allowed_networks": f"{HOOKS}::test_addresses_that_are_not_allowed_are_not_connected_to",
    "integrations.webhooks.timeout": f"{HOOKS}::test_one_that_is_slow_holds_up_nobody",
    "integrations.webhooks.queue_size": f"{HOOKS}::test_a_full_queue_leaves_out_and_says_so",
    "integrations.webhooks.retention": f"{HOOKS}::test_of_what_was_given_up_so_many_are_kept_for_so_long",
    "security.cors.enabled": f"{GATE}::test_without_the_switch_there_is_nothing",
    "security.cors.allowed_origins": f"{GATE}::test_all_sites_and_credentials",
    "security.cors.allowed_methods": f"{GATE}::test_what_is_not_listed_is_refused",
    "security.cors.allowed_headers": f"{GATE}::test_what_is_not_listed_is_refused",
    "security.cors.allow_credentials": f"{GATE}::test_all_sites_and_credentials",
    "security.cors.max_age": f"{GATE}::test_sites_that_are_listed",
    "security.rate_limiting.enabled": f"{GATE}::test_both_change_while_the_server_runs",
    "security.rate_limiting.requests_per_second": f"{GATE}::test_more_than_a_client_may_ask",
    "security.rate_limiting.burst_size": f"{GATE}::test_more_than_a_client_may_ask",
    "security.rate_limiting.routes.messages.requests_per_second": ROUTES,
    "security.rate_limiting.routes.messages.burst_size": ROUTES,
    "security.rate_limiting.routes.changes.requests_per_second": ROUTES,
    "security.rate_limiting.routes.changes.burst_size": ROUTES,
    "security.rate_limiting.routes.reads.requests_per_second": ROUTES,
    "security.rate_limiting.routes.reads.burst_size": ROUTES,
    "security.rate_limiting.max_clients": f"{GATE}::test_who_was_silent_longest_is_forgotten",
    "security.rate_limiting.trusted_proxies": f"{GATE}::test_clients_behind_a_proxy_are_told_apart",
    "security.authentication.enabled": "node/test_node.py::test_a_protection_that_it_does_not_have_is_refused",
    "security.authorization.enabled": "node/test_node.py::test_a_protection_that_it_does_not_have_is_refused",
    "runtime.enable_hot_reload": "node/test_admission.py::test_no_other_module_for_an_agent",
    "runtime.component_imports": "node/test_agents.py::component_imports",
    "messaging.max_message_size": "node/test_settings.py::test_a_change_takes_effect_and_is_kept",
    "messaging.queue_size": "node/test_settings.py::test_mailboxes_become_smaller_and_larger",
    "messaging.enable_persistence": (
        "node/test_delivery_classes.py::test_an_update_changes_it_and_so_does_the_node_s_default"
    ),
    "messaging.retry_attempts": "node/test_settings.py::test_another_number_of_attempts",
    "messaging.delivery_timeout": "node/test_settings.py::test_patience_with_those_outside",
    "messaging.dedup_window": "node/test_settings.py::test_what_came_twice",
    "messaging.offline_queue_bytes": (
        "node/test_delivery_classes.py::test_bytes_that_wait_on_the_disk_are_bounded_for_each_agent"
    ),
    "messaging.offline_total_bytes": (
        "node/test_delivery_classes.py::test_bytes_that_wait_on_the_disk_are_bounded_for_all_agents_together"
    ),
    "messaging.dead_letter_size": "node/test_dead_letters.py::dead_letter_size",
    "messaging.dead_letter_age": "node/test_dead_letters.py::dead_letter_age",
    "messaging.conversations.max_open": f"{TALKS}::test_max_open",
    "messaging.conversations.max_participants": f"{TALKS}::test_max_participants",
    "messaging.conversations.kept_ended": f"{TALKS}::test_kept_ended",
    "messaging.conversations.kept_time": f"{TALKS}::test_kept_time",
    "messaging.conversations.first_answer_timeout": f"{TALKS}::test_first_answer_timeout",
    "messaging.conversations.clock_skew": f"{TALKS}::test_clock_skew",
    "messaging.conversations.idle_timeout": f"{TALKS}::test_idle_timeout",
    "messaging.conversations.max_age": f"{TALKS}::test_max_age",
    "messaging.conversations.max_rounds": f"{TALKS}::test_max_rounds",
    "messaging.loops.policy": f"{TALKS}::test_max_repeats_and_the_policy",
    "messaging.loops.max_hops": f"{TALKS}::test_max_hops",
    "messaging.loops.max_repeats": f"{TALKS}::test_max_repeats_and_the_policy",
    "messaging.content_shapes": f"{TALKS}::test_content_shapes",
    "security.secrets.timeout": "core/test_config_secrets.py::test_a_reference_is_followed",
    "security.secrets.agents": "node/test_agent_secrets.py::test_an_agent_has_the_secret_that_it_names",
    "security.secrets.refresh_interval": "node/test_settings.py::test_a_secret_that_changes_is_read_again",
    "coordination.local_state.type": "core/test_config.py::test_what_can_only_be_what_it_is",
    "coordination.local_state.journal_mode": "core/test_config.py::test_what_can_only_be_what_it_is",
    "server.metrics_port": "cli/test_server.py::test_a_taken_port_is_said",
    "observability.metrics.enabled": f"{METER}::test_turned_on_and_off_while_it_runs",
    "observability.metrics.export_interval": f"{METER}::test_pushed_to_a_collector",
    "observability.metrics.histogram_buckets": f"{METER}::test_other_buckets_are_new_histograms",
    "observability.metrics.endpoint": f"{METER}::test_pushed_to_a_collector",
    "observability.metrics.agent_series": f"{METER}::test_agents_beyond_the_bound_share_one_series",
    "integrations.mcp.enabled": f"{TOOLS}::test_what_a_guest_is_told",
    "integrations.mcp.servers": f"{TOOLS}::test_what_a_guest_is_told",
    "integrations.mcp.max_concurrent_per_agent": f"{TOOLS}::test_of_one_agent_so_many_calls_at_a_time",
    "integrations.mcp.max_result_size": f"{TOOLS}::test_a_larger_answer_from_now_on",
    "integrations.mcp.circuit_breaker.threshold": f"{TOOLS}::test_the_circuit_breaker",
    "integrations.mcp.circuit_breaker.timeout": f"{TOOLS}::test_a_breaker_of_the_server_s_configuration",
    "observability.tracing.enabled": f"{TRACER}::test_changed_while_it_runs",
    "observability.tracing.backend": f"{TRACER}::test_jaeger_takes_otlp_and_the_port_of_grpc_is_told",
    "observability.tracing.endpoint": f"{TRACER}::test_changed_while_it_runs",
    "observability.tracing.sample_rate": f"{TRACER}::test_changed_while_it_runs",
    "observability.tracing.export_timeout": f"{TRACER}::test_an_export_that_takes_too_long_is_given_up",
    "observability.tracing.service_name": ONE_TRACE,
    "observability.tracing.resource_attributes": ONE_TRACE,
    "observability.logging.levels": f"{LOGS}::test_parts_have_levels_of_their_own_until_they_do_not",
    "observability.logging.output": f"{LOGS}::test_or_to_a_standard_stream",
    "observability.logging.file_path": f"{LOGS}::test_the_log_goes_to_the_file",
    "observability.logging.max_file_size": f"{LOGS}::test_a_full_file_makes_way_and_nothing_is_lost",
    "observability.logging.max_backups": f"{LOGS}::test_so_many_are_kept",
    "observability.logging.max_age": f"{LOGS}::test_old_ones_go_and_the_others_are_compressed",
    "observability.logging.compress": f"{LOGS}::test_old_ones_go_and_the_others_are_compressed",
    "observability.logging.level": "node/test_settings.py::test_the_least_that_is_logged",
    "observability.logging.format": "node/test_settings.py::test_the_last_who_spoke_is_heard",
    "resources.cpu.reserve_system": "node/test_admission.py::test_agents_are_refused_and_admitted_again",
    "resources.cpu.overcommit_ratio": "node/test_admission.py::test_agents_are_refused_and_admitted_again",
    "resources.memory.reserve_system": "node/test_admission.py::test_agents_are_refused_and_admitted_again",
    "resources.disk.data_dir": "cli/test_server.py::test_one_server_per_data_folder",
    "resources.memory.oom_kill_disable": "node/test_shares.py::test_a_server_that_is_spared_when_memory_is_short",
    "resources.disk.temp_dir": f"{TEMP}::test_the_copy_of_a_backup_is_in_the_folder_named",
    "resources.disk.max_temp_size": f"{TEMP}::test_what_does_not_fit_is_refused",
    "resources.disk.cleanup_interval": f"{TEMP}::test_modules_that_nobody_has_go_in_time",
    "integrations.fipa.http_mtp.enabled": f"{HTTP}::test_a_request_has_a_bound_and_without_the_switch_there_is_nothing",
    "integrations.fipa.http_mtp.platform_name": f"{HTTP}::platform_name",
    "integrations.fipa.http_mtp.accept_from": f"{HTTP}::test_nobody_sends_from_another_network",
    "integrations.fipa.http_mtp.platforms": f"{HTTP}::test_who_may_send_and_to_whom",
    "integrations.fipa.http_mtp.learn": f"{HTTP}::test_what_was_learned_is_known_after_a_restart_and_can_be_forgotten",
    "integrations.fipa.http_mtp.max_request_size": f"{HTTP}::max_request_size",
    "integrations.fipa.http_mtp.attempts": f"{HTTP}::test_what_cannot_be_delivered_is_a_dead_letter_and_a_failure",
    "integrations.fipa.http_mtp.retry_delay": f"{HTTP}::test_how_long_and_how_often_it_is_tried_changes",
    "integrations.fipa.http_mtp.max_retry_delay": f"{HTTP}::test_how_long_and_how_often_it_is_tried_changes",
    "integrations.fipa.http_mtp.timeout": f"{HTTP}::test_how_long_and_how_often_it_is_tried_changes",
    "integrations.fipa.http_mtp.public_url": f"{HTTP}::test_platforms_come_and_go",
    "integrations.fipa.http_mtp.max_learned": f"{HTTP}::test_who_may_send_changes",
}


def test_every_key_has_a_test() -> None:
    active = {key for key, leaf in leaves().items() if not leaf.key.inactive}
    assert set(TESTED) == active, "a new key has a test that watches what it does"


def test_what_is_named_is_there() -> None:
    for key, place in TESTED.items():
        file, _, name = place.partition("::")
        text = (TESTS / file).read_text()
        assert re.search(rf"\b{re.escape(name)}", text), f"{key}: there is no {place}"


@pytest.mark.parametrize("key", [key for key, leaf in leaves().items() if leaf.key.inactive])
def test_a_key_that_does_nothing_says_so(key: str, tmp_path: Path) -> None:
    leaf = leaves()[key]
    default = leaf.shown_default
    value = not default if isinstance(default, bool) else default
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(nested(key, value)))
    loaded = load(str(file), environ={"HOME": str(tmp_path)})
    (finding,) = [one for one in lint(loaded, Machine()) if one.area == "inactive"]
    assert (finding.key, finding.text) == (key, leaf.key.inactive)
    assert len(leaf.key.inactive) > 10
