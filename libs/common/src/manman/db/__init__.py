"""The one door to Postgres: schema, engine, unit of work, and the queries of each noun."""
