# The layer of a model's own requirements, above the runtime and below the model.
ARG RUNTIME_IMAGE
FROM ${RUNTIME_IMAGE}
ARG PIP_OPTIONS=""
USER 0:0
COPY wheels /wheels
# requirements.txt, and the wheels that it names beside it.
COPY own /clipper/own
RUN cd /clipper/own && python3 -m pip --python /clipper/venv/bin/python install --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore ${PIP_OPTIONS} -r requirements.txt
USER 10001:10001
