package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/loopback"
)

const (
	// readyTimeout bounds the operator's start, which takes a second or two.
	readyTimeout = time.Minute
	// readyPoll is how often it is asked.
	readyPoll = 100 * time.Millisecond
	// logTail is how many lines of the operator's log are shown when something did not hold.
	logTail = 25
)

// operator is cmd/keyturn as a process of its own.
type operator struct {
	process *exec.Cmd
	logFile *os.File
	// url, healthURL and metricsURL are where it listens, on loopback.
	url, healthURL, metricsURL string
	// died is closed when the process has ended, whatever the cause.
	died chan struct{}
}

// build compiles programs of the clone into a folder.
func build(ctx context.Context, root, folder string, packages ...string) error {
	arguments := append([]string{"build", "-o", folder + string(filepath.Separator)}, packages...)
	command := exec.CommandContext(ctx, "go", arguments...) //nolint:gosec // The packages are constants.
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(packages, " "), err, output)
	}
	return nil
}

// startOperator starts the operator and waits until it is ready. On an error it is not left running.
func startOperator(ctx context.Context, f folder) (*operator, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(f.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the operator's log: %w", err)
	}
	o := &operator{
		logFile: logFile, died: make(chan struct{}), url: "https://localhost:" + ports[0],
		healthURL: "http://localhost:" + ports[1], metricsURL: "http://localhost:" + ports[2],
	}
	// Not bound to the context: stop ends it, also when the context has ended.
	o.process = exec.Command(f.program("keyturn"), //nolint:gosec,noctx // Just built; see above.
		"--kubeconfig", f.operatorKubeconfig(), "--leader-elect=false",
		"--bind-address", "localhost:"+ports[0], "--health-bind-address", "localhost:"+ports[1],
		"--metrics-bind-address", "localhost:"+ports[2], "--trusted-proxies", "127.0.0.1,::1",
		"--tls-self-signed-cert-out", f.certificate(), "--log-format", "console", "--audit-log", f.audit())
	o.process.Stdout, o.process.Stderr = logFile, logFile
	if err := o.process.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the operator: %w", err), logFile.Close())
	}
	go func() {
		_ = o.process.Wait() // why it ended is in its log
		close(o.died)
	}()
	if err := o.waitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, tail(f.log())), o.stop())
	}
	return o, nil
}

// stop kills the operator. It keeps nothing that it would have to put in order, and the five seconds that it otherwise
// goes on serving are for gateways, of which there are none here.
func (o *operator) stop() error {
	_ = o.process.Process.Kill() // fails if it has died already, which is as good
	<-o.died
	return o.logFile.Close()
}

func (o *operator) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return poll(ctx, readyPoll, func() (bool, error) {
		select {
		case <-o.died:
			return false, errOperatorDied
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.healthURL+"/readyz", nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // It does not listen yet.
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
}

var errOperatorDied = errors.New("the operator has ended by itself")

// tail returns the end of the operator's log.
func tail(path string) string {
	content, err := os.ReadFile(path) //nolint:gosec // The demo's own folder.
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return "The end of the operator's log:\n" + strings.Join(lines[max(0, len(lines)-logTail):], "\n")
}

// freePorts finds TCP ports of loopback for programs that the demo starts.
func freePorts(count int) ([]string, error) {
	ports := make([]string, count)
	for i := range ports {
		var err error
		if ports[i], err = loopback.Port(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}
