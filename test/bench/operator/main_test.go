// Package operator measures the built operator against a real API server and etcd, as a user with the rights that the
// manifests give: many issuers, the start, and how soon a revocation is in force.
package operator

import (
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testoperator.Main(m))
}

// sized is the full size of something, or its size in a short run.
func sized(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}
