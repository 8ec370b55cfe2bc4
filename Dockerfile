# One file for every service: docker build --build-arg SERVICE=api -t manman-api .
# Services that drive the Docker engine (host, wrapper) are built with --build-arg RUN_AS=0.
FROM python:3.11-slim-bookworm AS build
ARG SERVICE
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
ENV UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_NATIVE_TLS=true \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/manman
# First what is installed from the lock: that layer stays when only our own code changes.
COPY pyproject.toml uv.lock ./
COPY libs/common/pyproject.toml libs/common/
COPY libs/devstack/pyproject.toml libs/devstack/
COPY services/api/pyproject.toml services/api/
COPY services/processor/pyproject.toml services/processor/
COPY services/migration/pyproject.toml services/migration/
COPY services/host/pyproject.toml services/host/
COPY services/wrapper/pyproject.toml services/wrapper/
COPY services/ui/pyproject.toml services/ui/
RUN test -n "$SERVICE" || { echo "say which service: --build-arg SERVICE=api|processor|migration|host|wrapper|ui"; exit 1; }
RUN uv sync --quiet --frozen --no-dev --no-install-workspace --package "manman-$SERVICE"
COPY libs libs
COPY services services
RUN uv sync --quiet --frozen --no-dev --no-editable --package "manman-$SERVICE"

FROM python:3.11-slim-bookworm
ARG SERVICE
ARG RUN_AS=65532
LABEL org.opencontainers.image.title="manman-$SERVICE" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/manman /opt/manman
ENV PATH=/opt/manman/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    MANMAN_SERVICE=$SERVICE \
    PYTHONUNBUFFERED=1
USER $RUN_AS
ENTRYPOINT ["sh", "-c", "exec python -m manman_$MANMAN_SERVICE \"$@\"", "--"]
