// Package operator runs the built command against a real API server, as a user with the rights that the manifests give and
// no others.
package operator

import (
	"os"
	"testing"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestMain(m *testing.M) { os.Exit(testoperator.Main(m)) }
