FROM python:3.13-slim
RUN useradd --create-home --uid 10001 opscore && mkdir /data && chown opscore /data
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir ./client ".[otel]" && rm -rf /src/*
USER opscore
WORKDIR /data
VOLUME /data
ENV OPSCORE_HOST=0.0.0.0 OPSCORE_DATABASE=sqlite:////data/opscore.db OPSCORE_LOG_FORMAT=json
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["opscore"]
CMD ["serve"]
