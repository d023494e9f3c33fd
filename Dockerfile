# kimai-backup as a container beside Kimai: compose.example.yml shows how it is meant to run.
#
#   docker build -t kimai-backup/kimai-backup:latest .
#
# Whoever reaches the package index through settings of their own passes them as a secret, which lies in no layer:
#   docker build --secret id=pipconf,src="$HOME/.config/pip/pip.conf" -t kimai-backup/kimai-backup:latest .
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# Debian's pip installs from outside into an environment that has none itself; Debian's setuptools makes our own wheel.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        python3 python3-venv python3-pip python3-setuptools python3-wheel \
    && python3 -m venv --without-pip /opt/kimai-backup
COPY requirements.lock /src/
# Every file is one whose hash the lock holds, and a wheel: nothing is compiled, no code of a package runs here.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/kimai-backup/bin/python install --no-compile --only-binary :all: \
        --require-hashes --requirement /src/requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY sidecar /src/sidecar
# Compiled here, as the root file system of the running container is read-only. By hash, not by time: a copied layer may
# change times.
RUN python3 -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /wheels /src \
    && python3 -m pip --python /opt/kimai-backup/bin/python install --quiet --no-index --no-deps --no-compile \
        /wheels/kimai_backup-*.whl \
    && rm -f /opt/kimai-backup/bin/activate* /opt/kimai-backup/bin/Activate* \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/kimai-backup/lib

FROM ${BASE}
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates python3 tini tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
    && install -d -m 0700 /var/lib/kimai-backup
COPY --from=build /opt/kimai-backup /opt/kimai-backup
ENV PATH=/opt/kimai-backup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kimai-backup" \
      org.opencontainers.image.description="Proven backups of Kimai: one command each way, shown equal row for row" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Root, as Kimai's files belong to several users and some are readable by their owner only; compose.example.yml takes
# every capability from it but the one to read them. /backups is not made here: it may be a disk that isn't mounted.
# -s: quiet also where the engine's own init (`init: true`) runs before this one.
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "kimai-backup"]
CMD ["run"]
# `docker compose up --wait` waits for the first check: as often as that is worth it, for each costs some 0.15 s of CPU.
# --start-interval would have both, but builders of before 2023 refuse it. With --recent it asks no target, but looks at what the
# daemon saw there.
# After an outage the first backup has the start period to make up for what was missed.
HEALTHCHECK --interval=30s --timeout=30s --start-period=2m --retries=3 CMD ["kimai-backup", "health", "--recent"]
