package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// room is a folder of benchmarks.
type room struct {
	name string
	// benchtime is that of go test, for the whole run: how long each benchmark takes, or how many iterations.
	benchtime string
	// processors is the GOMAXPROCS of the benchmarks that do not set it themselves. 0: that of the machine.
	processors int
	// once is for what takes minutes and is no comparison of timings: one round does.
	once bool
	// timeout bounds a round.
	timeout time.Duration
}

// rooms are run in this order: what is disturbed most by a warm machine comes first.
var rooms = []room{
	{name: "verification", benchtime: "200ms", processors: 1, timeout: 10 * time.Minute},
	{name: "gateway", benchtime: "1x", timeout: 10 * time.Minute},
	{name: "revocation", benchtime: "200ms", timeout: 10 * time.Minute},
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
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./"+r.name)
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
		command := exec.CommandContext(ctx, binary, r.arguments(o)...)
		command.Dir = r.name
		command.Stdout, command.Stderr = io.MultiWriter(&output, stderr), stderr
		// What the benchmarks have started is in the same process group, and must not be left behind.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGINT) }
		command.WaitDelay = time.Minute
		if err := command.Run(); err != nil {
			return fmt.Errorf("the benchmarks of %s: %w", r.name, err)
		}
		if err := measured.read(r.name, &output); err != nil {
			return err
		}
	}
	return nil
}

func (r room) arguments(o options) []string {
	arguments := []string{"-test.run=^$", "-test.bench=.", "-test.benchmem", "-test.timeout=" + r.timeout.String()}
	if r.processors > 0 {
		arguments = append(arguments, fmt.Sprintf("-test.cpu=%d", r.processors))
	}
	if o.short {
		return append(arguments, "-test.short", "-test.benchtime=1x")
	}
	return append(arguments, "-test.benchtime="+r.benchtime)
}
