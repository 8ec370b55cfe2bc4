-- Logged-in people of the management page.

CREATE TABLE ui_sessions (
    session_id TEXT NOT NULL,
    user_info JSONB NOT NULL,
    access_token TEXT NOT NULL,
    refresh_token TEXT NOT NULL,
    token_expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT pk_ui_sessions PRIMARY KEY (session_id)
);
CREATE INDEX ix_ui_sessions_expires_at ON ui_sessions (expires_at);
