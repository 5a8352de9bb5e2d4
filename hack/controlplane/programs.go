//go:build tools

// Package controlplane pins the programs of the control plane that demos and tests run against.
// build.sh builds them; nothing imports this package.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
