# The app for one person or behind a proxy: as a user without rights, with a health check.
#   docker build -t nonlocal-lens . && docker run --rm -p 127.0.0.1:8501:8501 nonlocal-lens
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home lens

WORKDIR /srv/nonlocal-lens
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY nonlocal_lens nonlocal_lens
COPY streets streets
COPY models models
COPY analysis analysis
COPY app app
RUN pip install --no-cache-dir --no-deps .

USER lens
WORKDIR /home/lens
# Within the container the app must be reachable from without; who may reach it, the -p above decides.
ENV STREAMLIT_SERVER_ADDRESS=0.0.0.0 NONLOCAL_LENS_CACHE=/home/lens/.cache/nonlocal-lens
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/healthz', timeout=4)"
CMD ["nonlocal-lens"]
