// Command keyturn is the Kubernetes operator: controllers on the leader, and on every replica the HTTPS server that
// publishes keys and verifies tokens.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "keyturn:", err)
		os.Exit(1)
	}
}
