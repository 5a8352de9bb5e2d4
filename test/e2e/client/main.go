// Command client plays everybody around Keyturn in the end-to-end suite: the workload that mints tokens, the gateway that
// verifies them, somebody who revokes them, and whoever breaks the cluster. Each runs in a pod of its own, and answers the
// suite over HTTP.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

// realTime is the only clock of these programs, which live in real time.
var realTime = clock.RealClock{}

// roles are what the client can be, by its first argument.
var roles = map[string]func(ctx context.Context, arguments []string, mux *http.ServeMux) (background func() error, err error){
	"mint": mint, "verify": verify, "revoke": revoke, "fault": fault,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 || roles[arguments[0]] == nil {
		return errors.New("say what to be: client mint|verify|revoke|fault, and its flags")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	group, ctx := errgroup.WithContext(ctx)
	background, err := roles[arguments[0]](ctx, arguments[1:], mux)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	if background != nil {
		group.Go(background)
	}
	group.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving on %s: %w", server.Addr, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}

// handle answers with what do returns, as JSON, or with its error.
func handle[T any](do func(r *http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := do(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// list is a flag that can be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// pair splits name=value.
func pair(text string) (name, value string, err error) {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" || value == "" {
		return "", "", fmt.Errorf("%q is not of the form name=value", text)
	}
	return name, value, nil
}

// percentile returns the value that the given share of all values does not exceed. It sorts values.
func percentile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(share*float64(len(values)-1))]
}
