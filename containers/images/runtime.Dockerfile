# The runtime layer: Clipper's side of the container protocol, on any flavor's framework layer.
ARG FRAMEWORK_IMAGE
FROM ${FRAMEWORK_IMAGE}
COPY clipper_container /clipper/runtime/clipper_container
# Compiled now: at run time the root file system is read-only.
RUN ["/clipper/venv/bin/python", "-m", "compileall", "-q", "/clipper/runtime"]
ENV PYTHONPATH=/clipper/runtime PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /model
USER 10001:10001
EXPOSE 7000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/clipper/venv/bin/python", "-S", "-m", "clipper_container.healthcheck"]
# -P: the model's directory, which is the working directory, must not shadow what the runtime imports.
ENTRYPOINT ["/clipper/venv/bin/python", "-P", "-m", "clipper_container"]
CMD ["--help"]
LABEL org.opencontainers.image.title="Clipper: model container" org.opencontainers.image.licenses="Apache-2.0"
