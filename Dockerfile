# syntax=docker/dockerfile:1
# The same locked install as ./tollkeeper, without the embedded servers' data: PostgreSQL and Redis come by URL.

FROM node:20-bookworm-slim AS console
WORKDIR /src/frontend
COPY frontend/ ./
# The console is built where its sources are there; the gateway runs without it.
RUN mkdir -p /src/dist \
 && if [ -f package.json ]; then npm ci --no-audit --no-fund && npm run build; fi \
 && if [ -d /src/backend/tollkeeper/console/dist ]; then cp -a /src/backend/tollkeeper/console/dist/. /src/dist/; fi

FROM python:3.11-slim-bookworm AS install
ENV UV_PROJECT_ENVIRONMENT=/app/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /app
COPY tollkeeper pyproject.toml uv.lock ./
# The bootstrap fetches the installer by hash and installs what the lock names, nothing else.
RUN python3 -c "import importlib.machinery, importlib.util; \
loader = importlib.machinery.SourceFileLoader('bootstrap', './tollkeeper'); \
spec = importlib.util.spec_from_loader('bootstrap', loader); \
bootstrap = importlib.util.module_from_spec(spec); loader.exec_module(bootstrap); bootstrap.install(development=False)" \
 && rm -rf .cache

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --system --gid 10001 tollkeeper \
 && useradd --system --uid 10001 --gid 10001 --home-dir /app --shell /usr/sbin/nologin tollkeeper \
 && install -d -o 10001 -g 10001 -m 0700 /data /data/objects
WORKDIR /app
COPY --from=install /app/.venv ./.venv
COPY alembic.ini ./
COPY migrations/ ./migrations/
COPY backend/ ./backend/
COPY --from=console /src/dist/ ./backend/tollkeeper/console/dist/
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app/backend PYTHONUNBUFFERED=1 \
    TOLLKEEPER_HOST=0.0.0.0 TOLLKEEPER_PORT=8000 TOLLKEEPER_DATA_DIR=/data TOLLKEEPER_LOG_FORMAT=json
# Here once: the user of the image can keep nothing beside the sources, and would wait for it at each start.
RUN python -m compileall -q backend/tollkeeper migrations
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
ENTRYPOINT ["python", "-m", "tollkeeper"]
CMD ["serve"]
