-- Everything that the other files of this folder made, in one go.

DROP TABLE IF EXISTS
    session_samples, server_samples,
    idempotency_keys, audit_log, api_tokens, ui_sessions, s3_deletions, log_stream_deletions, dead_letters,
    outbox, event_sequences,
    sgc_workshop_libraries, workshop_library_references, workshop_library_addons, workshop_libraries,
    workshop_installations, workshop_addons, game_addon_path_presets,
    log_cursors, log_references,
    backup_runs, backup_config_actions, backups, backup_configs,
    action_executions, action_input_options, action_input_fields, action_definitions,
    session_crash_records, deployment_restarts, sessions, server_ports, server_game_config_parameter_values,
    server_game_configs,
    configuration_patches, strategy_parameter_bindings, configuration_strategies,
    game_config_parameter_values, parameter_definitions, game_config_volumes, game_config_files, game_configs, games,
    server_capabilities, servers
    CASCADE;

DROP SEQUENCE IF EXISTS event_positions;

DROP FUNCTION IF EXISTS update_updated_at_column(), delete_what_refines_entity(), delete_stored_object(), delete_log_stream();
