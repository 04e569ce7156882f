# Images of XP-Net. How to run them: docs/containers.md.
#
#   base   Debian, GStreamer, Python packages: shared by cpu and train
#   cpu    Triton server and graph, without a GPU
#   test   cpu and everything that `make test` needs
#   train  PyTorch with CUDA
#   rtx    NVIDIA's DeepStream with Triton and TensorRT
#
# The project is copied last, so that an edit of its code rebuilds only the last layers.

# DeepStream 8.0 is the last one with a released wheel of pyds. For 9.1-triton-multiarch, pyds is
# built from source.
ARG DEEPSTREAM=8.0-triton-multiarch

# Tag: github.com/docker-library/official-images library/debian (Debian 12.13).
FROM debian:bookworm-20260202-slim AS base
ENV PIP_NO_CACHE_DIR=1
WORKDIR /opt/xpnet
COPY scripts/common.sh scripts/setup.sh scripts/
RUN scripts/setup.sh --step system && rm -rf /var/lib/apt/lists/*
COPY requirements.txt ./
RUN scripts/setup.sh --step python
# A uid that no user of the host has. It owns no file of the project.
RUN useradd --uid 10001 --create-home --home-dir /home/xpnet xpnet \
    && install -d -o xpnet -g xpnet /data

FROM base AS cpu
RUN scripts/setup.sh --step server
COPY . .
RUN scripts/setup.sh --step project
ENV PATH=/opt/xpnet/.venv/bin:/opt/xpnet/scripts:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /data
EXPOSE 8000 8001 8002
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["docker/healthcheck.sh"]
ENTRYPOINT ["xpnet"]
CMD ["run", "docs/demo/colonoscopy.mp4", "--output", "/data/demo.mp4", "--json", "/data/demo.json"]

FROM cpu AS test
# PyTorch from PyPI contains CUDA, several gigabytes. Another index has builds without it.
ARG XPNET_TORCH_INDEX
USER 0:0
RUN scripts/setup.sh --dev --step system \
    && scripts/setup.sh --dev --step python \
    && scripts/setup.sh --dev --step project \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
ENTRYPOINT ["python", "-m", "pytest", "-p", "no:cacheprovider"]
CMD []

FROM base AS train
# CUDA of the PyTorch package; the host provides only the driver.
ARG XPNET_TORCH_INDEX
COPY requirements-train.txt ./
RUN scripts/setup.sh --train --step python
COPY . .
RUN scripts/setup.sh --step project
ENV PATH=/opt/xpnet/.venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
VOLUME /data
HEALTHCHECK --interval=60s --timeout=30s CMD ["python", "-c", "import torch; assert torch.cuda.is_available()"]
ENTRYPOINT ["xpnet"]
CMD ["train", "--help"]

# Tags: github.com/NVIDIA/DeepStream, skills/deepstream-dev/references/docker_containers.md. Use of
# the image requires NVIDIA's licence:
# /opt/nvidia/deepstream/deepstream/LicenseAgreementContainer.pdf
FROM nvcr.io/nvidia/deepstream:${DEEPSTREAM} AS rtx
ARG DEEPSTREAM
USER 0:0
ENV PIP_NO_CACHE_DIR=1
WORKDIR /opt/xpnet
# NVIDIA's image does not contain the CPU codecs, such as x264enc. NVIDIA's script installs them
# (README of github.com/NVIDIA/DeepStream, deepstream_dockers).
RUN DEBIAN_FRONTEND=noninteractive bash /opt/nvidia/deepstream/deepstream/user_additional_install.sh \
    && rm -rf /var/lib/apt/lists/*
COPY scripts/common.sh scripts/install_pyds.sh scripts/setup.sh scripts/
RUN scripts/install_pyds.sh && rm -rf /var/lib/apt/lists/*
RUN scripts/setup.sh --deepstream --step system && rm -rf /var/lib/apt/lists/*
COPY requirements.txt ./
RUN scripts/setup.sh --deepstream --step python && scripts/setup.sh --deepstream --step server
# A plan works on one GPU model only, so plans are built at the first start, into a volume.
RUN useradd --uid 10001 --create-home --home-dir /home/xpnet xpnet \
    && install -d -o xpnet -g xpnet /data /plans /plans/xpnet_lite /plans/xpnet
COPY . .
# `ln -s` would create the link inside an existing folder, so the folders are removed first.
RUN scripts/setup.sh --deepstream --step project \
    && rm -rf triton_models/xpnet_lite/1 triton_models/xpnet/1 \
    && ln -s /plans/xpnet_lite triton_models/xpnet_lite/1 \
    && ln -s /plans/xpnet triton_models/xpnet/1
ENV PATH=/opt/xpnet/.venv/bin:/opt/xpnet/scripts:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    XPNET_CART_DIR=/tmp/cart \
    XPNET_TIMING_CACHE=/plans/timing-${DEEPSTREAM}.cache
USER 10001:10001
VOLUME ["/data", "/plans"]
EXPOSE 8000 8001 8002
STOPSIGNAL SIGINT
# The first start builds a plan, which takes minutes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m CMD ["docker/healthcheck.sh"]
ENTRYPOINT ["docker/entrypoint.sh"]
CMD ["run", "docs/demo/colonoscopy.mp4", "--platform", "deepstream", "--output", "/data/demo.mp4", "--json", "/data/demo.json"]
