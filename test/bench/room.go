package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// room is a folder of benchmarks, or some of them.
type room struct {
	name string
	// benchmarks is a regular expression for those to run. Empty: all.
	benchmarks string
	// benchtime is that of go test, for the whole run: how long each benchmark takes, or how many iterations.
	benchtime string
	// processors is the GOMAXPROCS of the benchmarks that do not set it themselves. 0: that of the machine.
	processors int
	// once is for what takes minutes and is no comparison of timings: one round does.
	once bool
	// timeout bounds a round.
	timeout time.Duration
}

// stopTimeout bounds the end of a benchmark that was interrupted, with that of its control plane.
const stopTimeout = 5 * time.Minute

// rooms are run in this order: what is disturbed most by a warm machine comes first.
var rooms = []room{
	{name: "verification", benchmarks: "BesideRaw", benchtime: "1x", processors: 1, timeout: 10 * time.Minute},
	{name: "verification", benchmarks: "Seen|Throughput|Flood", benchtime: "200ms", processors: 1, timeout: 10 * time.Minute},
	{name: "gateway", benchtime: "1x", timeout: 10 * time.Minute},
	{name: "revocation", benchmarks: "Million", benchtime: "200ms", timeout: 10 * time.Minute},
	{name: "revocation", benchmarks: "Pause", benchtime: "1x", once: true, timeout: 10 * time.Minute},
	{name: "operator", benchtime: "1x", once: true, timeout: 20 * time.Minute},
	{name: "footprint", benchtime: "1x", once: true, timeout: 20 * time.Minute},
}

// run adds what the room reports to measured, and shows it on stderr as it comes.
func (r room) run(ctx context.Context, o options, measured figures, stderr io.Writer) error {
	folder, err := os.MkdirTemp("", "keyturn-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := filepath.Join(folder, r.name+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./"+r.name) //nolint:gosec // A folder named in this file.
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the benchmarks of %s: %w\n%s", r.name, err, output)
	}
	rounds := o.rounds
	if r.once || o.short {
		rounds = 1
	}
	for round := range rounds {
		_, _ = fmt.Fprintf(stderr, "== %s, round %d of %d\n", r.name, round+1, rounds)
		var output bytes.Buffer
		command := exec.CommandContext(ctx, binary, r.arguments(o)...) //nolint:gosec // What was just built.
		command.Dir = r.name
		command.Stdout, command.Stderr = io.MultiWriter(&output, stderr), stderr
		// The operators that the benchmarks have started are in the same process group, and must not be left behind. The
		// control plane is not, and is stopped by the benchmarks themselves, unless they run into their timeout.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGINT) }
		command.WaitDelay = stopTimeout
		err := command.Run()
		if command.Process != nil {
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		}
		if err != nil {
			return fmt.Errorf("the benchmarks of %s: %w", r.name, err)
		}
		if err := measured.read(r.name, &output); err != nil {
			return err
		}
	}
	return nil
}

func (r room) arguments(o options) []string {
	arguments := []string{"-test.run=^$", "-test.bench=" + cmp.Or(r.benchmarks, "."), "-test.benchmem", "-test.timeout=" + r.timeout.String()}
	if r.processors > 0 {
		arguments = append(arguments, fmt.Sprintf("-test.cpu=%d", r.processors))
	}
	if o.short {
		return append(arguments, "-test.short", "-test.benchtime=1x")
	}
	return append(arguments, "-test.benchtime="+r.benchtime)
}
