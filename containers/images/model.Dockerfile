# A model baked into an image: the topmost layer. Run it with the secret that its callers know in /run/clipper/secret.
ARG RUNTIME_IMAGE
FROM ${RUNTIME_IMAGE}
COPY model /model
CMD ["--artifact", "/model", "--listen", "tcp:0.0.0.0:7000", "--secret-file", "/run/clipper/secret"]
