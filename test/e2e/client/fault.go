package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// maxPause bounds for how long a process is stopped.
const maxPause = 5 * time.Minute

// fault sends signals to processes of its node. It must run in the node's PID namespace as root, with the capability KILL
// and no other.
func fault(ctx context.Context, arguments []string, mux *http.ServeMux) (background func() error, err error) {
	flags := flag.NewFlagSet("fault", flag.ContinueOnError)
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	var pauses sync.WaitGroup
	mux.HandleFunc("GET /processes", handle(processes))
	mux.HandleFunc("POST /kill", handle(func(r *http.Request) (report.Processes, error) {
		found, err := processes(r)
		if err != nil {
			return report.Processes{}, err
		}
		return found, signalAll(found.PIDs, syscall.SIGKILL)
	}))
	mux.HandleFunc("POST /kill-at-change", handle(killAtChange))
	mux.HandleFunc("POST /pause", handle(func(r *http.Request) (report.Processes, error) {
		length, err := time.ParseDuration(r.URL.Query().Get("for"))
		if err != nil || length > maxPause {
			return report.Processes{}, fmt.Errorf("for=%s is not a duration of at most %s", r.URL.Query().Get("for"), maxPause)
		}
		found, err := processes(r)
		if err != nil {
			return report.Processes{}, err
		}
		// The answer must leave before the API server that passes it on is stopped.
		pauses.Go(func() { pause(ctx, found.PIDs, length) })
		return found, nil
	}))
	return func() error {
		<-ctx.Done()
		pauses.Wait() // Nobody else continues what is stopped.
		return nil
	}, nil
}

// pause stops processes, and continues them after the given time or when the context ends.
func pause(ctx context.Context, pids []int, length time.Duration) {
	realTime.Sleep(time.Second)
	if err := signalAll(pids, syscall.SIGSTOP); err != nil {
		fmt.Fprintln(os.Stderr, "stopping:", err)
	}
	timer := realTime.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
	if err := signalAll(pids, syscall.SIGCONT); err != nil {
		fmt.Fprintln(os.Stderr, "continuing:", err)
	}
}

func signalAll(pids []int, signal syscall.Signal) error {
	var failed []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil {
			failed = append(failed, fmt.Errorf("sending %s to process %d: %w", signal, pid, err))
		}
	}
	return errors.Join(failed...)
}

// processes finds the processes with a name, of one pod if its uid is given. There must be one at least.
func processes(r *http.Request) (report.Processes, error) {
	name, pod := r.URL.Query().Get("name"), r.URL.Query().Get("pod")
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return report.Processes{}, err
	}
	var out report.Processes
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if isProcess(folder, name, pod) {
			out.PIDs = append(out.PIDs, pid)
		}
	}
	if len(out.PIDs) == 0 {
		return report.Processes{}, fmt.Errorf("this node has no process %q of the pod %q", name, pod)
	}
	return out, nil
}

// isProcess says whether a folder of /proc is of a process with this name, in this pod. One that has ended is of none.
func isProcess(folder, name, pod string) bool {
	commandLine, err := os.ReadFile(filepath.Join(folder, "cmdline")) //nolint:gosec // A folder of /proc.
	if err != nil {
		return false
	}
	program, _, _ := strings.Cut(string(commandLine), "\x00")
	if name == "" || filepath.Base(program) != name {
		return false
	}
	if pod == "" {
		return true
	}
	cgroups, err := os.ReadFile(filepath.Join(folder, "cgroup")) //nolint:gosec // A folder of /proc.
	// With the cgroup driver systemd, the uid has underscores.
	return err == nil && (strings.Contains(string(cgroups), pod) || strings.Contains(string(cgroups), strings.ReplaceAll(pod, "-", "_")))
}
