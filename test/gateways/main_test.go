// Package gateways runs the configurations of docs/gateways.md as they stand there: the real gateway or kube-apiserver,
// in front of the built operator. Where a program is not installed its test is skipped, and says so.
package gateways

import (
	"os"
	"testing"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestMain(m *testing.M) { os.Exit(testoperator.Main(m)) }
