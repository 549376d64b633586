# Terraster as a user without rights. To be mounted: /etc/terraster, with the configuration and (in certs) the certificates.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
COPY constraints.txt constraints-compile.txt .
RUN python -m venv /opt/terraster && /opt/terraster/bin/pip install --require-hashes -r constraints.txt -r constraints-compile.txt
COPY . .
RUN TERRASTER_COMPILE=require /opt/terraster/bin/pip install --no-deps --no-build-isolation . && /opt/terraster/bin/pip uninstall --yes cython setuptools

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin terraster \
    && install -d -o terraster -g terraster /run/terraster /var/lib/terraster \
    && install -d /etc/terraster
COPY --from=build /opt/terraster /opt/terraster
COPY etc/docker.yaml /etc/terraster/docker.yaml
ENV PATH=/opt/terraster/bin:$PATH PYTHONUNBUFFERED=1
USER terraster
EXPOSE 8080 8081 9090
VOLUME /var/lib/terraster
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["terrasterctl", "--config", "/etc/terraster/docker.yaml", "status", "--json"]
ENTRYPOINT ["terraster"]
CMD ["--config", "/etc/terraster/docker.yaml"]
