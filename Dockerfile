# The operator's image: the operator, the authorities that it trusts, and nothing else. `make image` makes one like it
# without a container engine. Give both bases with your registry's name, and a digest, where you mirror them:
#
#   docker build --build-arg VERSION=v0.1.0 --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) -t keyturn:v0.1.0 .
#
# BUILD needs Go, and its file of authorities where it is in Debian and Alpine. RUNTIME may be scratch, or a static base
# of your own.
ARG BUILD=golang:1.26
ARG RUNTIME=scratch

FROM --platform=$BUILDPLATFORM ${BUILD} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY internal internal
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
# No paths of the machine, no state of the clone, no C library, no symbols: the same source gives the same program.
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /keyturn ./cmd/keyturn
# BuildKit dates the image by it; the files are dated here.
ARG SOURCE_DATE_EPOCH=0
RUN touch -d "@${SOURCE_DATE_EPOCH}" /keyturn

FROM ${RUNTIME}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /keyturn /keyturn
USER 65532:65532
EXPOSE 8443 8080 8081
ENTRYPOINT ["/keyturn"]
