# docker build --tag reweigh:0.1.0 .
FROM python:3.11-slim
# MuJoCo's renderers want these even where nothing is drawn.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libegl1 libglfw3 \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/reweigh
RUN pip install --no-cache-dir '/opt/reweigh[minari,parquet,robotics]'
# Results that several runs share; mount a folder here to keep them.
ENV REWEIGH_CACHE=/tmp/reweigh-cache MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["reweigh"]
