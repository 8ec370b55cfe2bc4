-- What the schema does by itself: updated_at, rows that hang on an entity without a foreign key, objects in the
-- store, log streams.

CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$;

DO $$
DECLARE
    target text;
BEGIN
    FOR target IN
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name = 'updated_at'
        ORDER BY table_name
    LOOP
        EXECUTE format(
            'CREATE TRIGGER set_updated_at BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()',
            target
        );
    END LOOP;
END $$;

-- Patches and actions of an entity go with it. TG_ARGV: level, key column.
CREATE FUNCTION delete_what_refines_entity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entity bigint := (to_jsonb(OLD) ->> TG_ARGV[1])::bigint;
BEGIN
    DELETE FROM configuration_patches WHERE patch_level = TG_ARGV[0] AND entity_id = entity;
    DELETE FROM action_definitions WHERE definition_level = TG_ARGV[0] AND entity_id = entity;
    RETURN NULL;
END $$;

CREATE TRIGGER delete_refinements AFTER DELETE ON games
    FOR EACH ROW EXECUTE FUNCTION delete_what_refines_entity('game', 'game_id');
CREATE TRIGGER delete_refinements AFTER DELETE ON game_configs
    FOR EACH ROW EXECUTE FUNCTION delete_what_refines_entity('game_config', 'config_id');
CREATE TRIGGER delete_refinements AFTER DELETE ON server_game_configs
    FOR EACH ROW EXECUTE FUNCTION delete_what_refines_entity('server_game_config', 'sgc_id');
CREATE TRIGGER delete_refinements AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION delete_what_refines_entity('session', 'session_id');

-- Objects in the store go with the row that points at them. TG_ARGV: column with the key.
CREATE FUNCTION delete_stored_object() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    object_key text := to_jsonb(OLD) ->> TG_ARGV[0];
BEGIN
    IF object_key IS NOT NULL THEN
        INSERT INTO s3_deletions (key) VALUES (object_key);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER delete_object AFTER DELETE ON backups
    FOR EACH ROW EXECUTE FUNCTION delete_stored_object('s3_key');
CREATE TRIGGER delete_object AFTER DELETE ON log_references
    FOR EACH ROW EXECUTE FUNCTION delete_stored_object('file_path');

-- The log stream of a session goes with it.
CREATE FUNCTION delete_log_stream() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log_stream_deletions (session_id) VALUES (OLD.session_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER delete_log_stream AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.log_stream_deleted_at IS NULL) EXECUTE FUNCTION delete_log_stream();
