-- What games and hosts used: as it came for some hours, then as means and peaks of five minutes.

CREATE TABLE session_samples (
    session_id BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    span_seconds INTEGER NOT NULL,
    cpu_cores REAL,
    cpu_cores_peak REAL,
    memory_bytes BIGINT,
    memory_bytes_peak BIGINT,
    memory_limit_bytes BIGINT,
    received_bytes_per_second REAL,
    sent_bytes_per_second REAL,
    read_bytes_per_second REAL,
    written_bytes_per_second REAL,
    players REAL,
    players_peak INTEGER,
    players_max INTEGER,
    CONSTRAINT pk_session_samples PRIMARY KEY (session_id, at),
    CONSTRAINT ck_session_samples_span_seconds CHECK (span_seconds BETWEEN 1 AND 300),
    CONSTRAINT fk_session_samples_session_id
        FOREIGN KEY (session_id) REFERENCES sessions (session_id) ON DELETE CASCADE
);
CREATE INDEX ix_session_samples_raw ON session_samples (at) WHERE span_seconds < 300;
CREATE INDEX ix_session_samples_kept ON session_samples (at) WHERE span_seconds = 300;

CREATE TABLE server_samples (
    server_id BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    span_seconds INTEGER NOT NULL,
    cpu_cores REAL,
    cpu_cores_peak REAL,
    cpu_count INTEGER,
    load REAL,
    memory_bytes BIGINT,
    memory_bytes_peak BIGINT,
    memory_total_bytes BIGINT,
    disk_bytes BIGINT,
    disk_total_bytes BIGINT,
    received_bytes_per_second REAL,
    sent_bytes_per_second REAL,
    CONSTRAINT pk_server_samples PRIMARY KEY (server_id, at),
    CONSTRAINT ck_server_samples_span_seconds CHECK (span_seconds BETWEEN 1 AND 300),
    CONSTRAINT fk_server_samples_server_id FOREIGN KEY (server_id) REFERENCES servers (server_id) ON DELETE CASCADE
);
CREATE INDEX ix_server_samples_raw ON server_samples (at) WHERE span_seconds < 300;
CREATE INDEX ix_server_samples_kept ON server_samples (at) WHERE span_seconds = 300;
