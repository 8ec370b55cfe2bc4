"""The bus contract: what travels over RabbitMQ, and under which names.

One module per direction (commands down; status, health and logs up; external out), `routing` for every name,
`codec` for bytes. The structs hold facts only: they decide nothing and know neither broker nor database.
"""
