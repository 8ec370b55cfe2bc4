"""The bus: the only home of the AMQP client. Confirmed publishing, and consuming that loses nothing."""
