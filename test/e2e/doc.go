// Package e2e installs Keyturn by Helm on a real cluster, and holds it to what it promises while keys rotate, replicas
// are killed, evicted and upgraded, and the API server is away. It needs a cluster without Keyturn on which it may do
// anything, Helm, and two images on the nodes: the operator's, and that of test/e2e/client, which plays everybody else.
//
//	kind create cluster
//	make e2e E2E_LOAD='kind load image-archive'
//
// make e2e makes the images, calls $(E2E_LOAD) with the archive of each, and runs the suite with $(E2E_RUN) in front,
// which may be what runs a program where the API server can be reached. The paths that it passes on are absolute.
// E2E_FLAGS are further flags of the suite, such as -keep. Without the flag -operator-image, as under `go test ./...`,
// the suite skips itself.
//
// It was seen to work on a single node of Kubernetes 1.36, with containerd and kube-proxy; kind itself was not run.
//
// Everything goes through the API server, also the suite's questions to its clients, so no pod and no Service need be
// reachable from where it runs. The line of a figure has "measured:" in it. The scenarios share one installation and
// build on one another; every wait is bounded, and when it is over, what the pods have logged is printed. In the end
// everything is removed, the custom resources too, unless -keep is given; what -keep leaves, the next run removes.
package e2e
