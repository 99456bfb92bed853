# The images of `cargo xtask image` by a container engine: a static binary and Mozilla's CA roots, nothing else. The context is
# the folder of files that the task leaves beside its archive; docs/images.md has the commands.
FROM scratch AS files
COPY etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
WORKDIR /
USER 65532:65532
LABEL org.opencontainers.image.licenses="Apache-2.0"

FROM files AS postrider-relay
ARG VERSION
COPY postrider-relay /postrider-relay
ENTRYPOINT ["/postrider-relay"]
LABEL org.opencontainers.image.title="postrider-relay" \
      org.opencontainers.image.description="The relay: accepts, queues and delivers mail" \
      org.opencontainers.image.version="${VERSION}"

FROM files AS postrider-operator
ARG VERSION
COPY postrider-operator /postrider-operator
ENTRYPOINT ["/postrider-operator"]
LABEL org.opencontainers.image.title="postrider-operator" \
      org.opencontainers.image.description="The operator: MailRelays and RoutingRules to running fleets" \
      org.opencontainers.image.version="${VERSION}"
