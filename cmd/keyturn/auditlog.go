package main

import (
	"fmt"
	"os"

	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/audit"
)

// auditToStdout is the value of --audit-log for the standard output. The program's own log goes to stderr.
const auditToStdout = "-"

// newAuditLog opens what --audit-log names; nil for nothing. A file is for the operator's user alone, since it says who
// logs in from where. It is appended to and never opened again, so that whoever rotates it must truncate it in place.
func newAuditLog(path string, clk clock.PassiveClock) (*audit.Log, error) {
	switch path {
	case "":
		return nil, nil //nolint:nilnil // A nil Log writes nothing.
	case auditToStdout:
		return audit.New(os.Stdout, clk), nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // Who starts the operator names it.
	if err != nil {
		return nil, fmt.Errorf("--audit-log: %w", err)
	}
	return audit.New(file, clk), nil
}
