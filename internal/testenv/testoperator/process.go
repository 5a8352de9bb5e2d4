package testoperator

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/loopback"
)

// Process is a running operator.
type Process struct {
	testing.TB
	// HTTPS, Metrics and Health are the addresses that it listens on, and Certificate is the file with the certificate that
	// it serves with.
	HTTPS, Metrics, Health, Certificate string
	// Log is what it has written so far, on stdout and stderr.
	Log *Log
	// Started is when it was started.
	Started time.Time
	// Ended is closed when the process has ended; then Err says how.
	Ended chan struct{}
	Err   error

	command *exec.Cmd
}

// Log is what a process has written so far.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running are the processes that have not ended.
var running sync.Map

// killAll is for a program that ends without the clean-up of its tests.
func killAll() {
	running.Range(func(p, _ any) bool {
		_ = p.(*Process).command.Process.Kill()
		return true
	})
}

// Run starts the operator with everything it logs kept, and stops it at the end of the test.
func Run(a *Administrator, kubeconfig []byte, flags ...string) *Process {
	a.Helper()
	folder := a.TempDir()
	config := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(config, kubeconfig, 0o600); err != nil {
		a.Fatal(err)
	}
	p := &Process{
		TB: a.TB, Log: &Log{}, Ended: make(chan struct{}), Certificate: filepath.Join(folder, "tls.crt"),
		HTTPS: FreeAddress(a.TB), Metrics: FreeAddress(a.TB), Health: FreeAddress(a.TB),
	}
	p.command = exec.Command(command(a.TB), append([]string{
		"--kubeconfig=" + config, "--bind-address=" + p.HTTPS, "--metrics-bind-address=" + p.Metrics,
		"--health-bind-address=" + p.Health, "--tls-hosts=127.0.0.1", "--tls-self-signed-cert-out=" + p.Certificate,
		"--leader-election-namespace=" + a.Namespace, "--log-level=debug",
	}, flags...)...)
	p.command.Stderr, p.command.Stdout = p.Log, p.Log
	p.Started = time.Now()
	if err := p.command.Start(); err != nil {
		a.Fatalf("starting the operator: %v", err)
	}
	running.Store(p, nil)
	go func() {
		p.Err = p.command.Wait()
		running.Delete(p)
		close(p.Ended)
	}()
	a.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.Ended
		if a.Failed() {
			a.Logf("the operator's log:\n%s", p.Log)
		}
	})
	return p
}

// FreeAddress is an address of loopback that nobody listens on, for a program that this process starts.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// Alive fails if the process has ended, so that nobody waits for it in vain.
func (p *Process) Alive() {
	p.Helper()
	select {
	case <-p.Ended:
		p.Fatalf("the operator has ended: %v", p.Err)
	default:
	}
}

// Status is the answer of /readyz or /healthz; 0 while nobody listens.
func (p *Process) Status(path string) (code int, body string) {
	response, err := http.Get("http://" + p.Health + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// WaitReady waits for /readyz.
func (p *Process) WaitReady() {
	p.Helper()
	Eventually(p.TB, "the operator ready", func() error {
		p.Alive()
		if code, body := p.Status("/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return nil
	})
}

// Client trusts the certificate of the process and nothing else.
func (p *Process) Client() *http.Client {
	p.Helper()
	trusted := x509.NewCertPool()
	certificate, err := os.ReadFile(p.Certificate)
	if err != nil || !trusted.AppendCertsFromPEM(certificate) {
		p.Fatalf("the certificate of the operator: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}
	p.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Verify asks for a verdict as a gateway does.
func (p *Process) Verify(c *http.Client, raw string) (int, http.Header, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+p.HTTPS+"/verify", http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+raw)
	response, err := c.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header, err
}

// WantVerdict waits for this status of /verify.
func (p *Process) WantVerdict(c *http.Client, raw string, want int) http.Header {
	p.Helper()
	var header http.Header
	Eventually(p.TB, fmt.Sprintf("verdict %d", want), func() error {
		p.Alive()
		code, got, err := p.Verify(c, raw)
		if header = got; err != nil || code != want {
			return fmt.Errorf("verdict %d %s, error %w", code, got.Get("WWW-Authenticate"), err)
		}
		return nil
	})
	return header
}

// Scrape reads the metrics.
func (p *Process) Scrape() string {
	p.Helper()
	response, err := http.Get("http://" + p.Metrics + "/metrics")
	if err != nil {
		p.Fatalf("scraping: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatalf("scraping: %v", err)
	}
	return string(text)
}

// Sum adds up the samples of a metric that have all these labels, each written as in the exposition: method="GET". It is
// 0 where there are none.
func (p *Process) Sum(metric string, labels ...string) float64 {
	p.Helper()
	return SumOf(p.TB, p.Scrape(), metric, labels...)
}

// SumOf is Sum of what was scraped elsewhere or before.
func SumOf(t testing.TB, scraped, metric string, labels ...string) float64 {
	t.Helper()
	sum := 0.0
	for line := range strings.Lines(scraped) {
		rest, found := strings.CutPrefix(line, metric)
		if !found || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		end := strings.LastIndexByte(rest, ' ')
		if slices.ContainsFunc(labels, func(label string) bool { return !strings.Contains(rest[:end], label) }) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[end:]), 64)
		if err != nil {
			t.Fatalf("the metric %s: %v", metric, err)
		}
		sum += value
	}
	return sum
}

// PID is the id of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Kill ends the process without a word, as a node that fails does, and waits until it has ended.
func (p *Process) Kill() {
	p.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.Ended
}

// Terminate sends SIGTERM.
func (p *Process) Terminate() {
	p.Helper()
	p.Signal(syscall.SIGTERM)
}

// Signal sends a signal.
func (p *Process) Signal(signal syscall.Signal) {
	p.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.Fatalf("sending %s: %v", signal, err)
	}
}

// WantLogged waits until the log has this in it.
func (p *Process) WantLogged(text string) {
	p.Helper()
	Eventually(p.TB, "the log", func() error {
		if !strings.Contains(p.Log.String(), text) {
			return fmt.Errorf("it does not say %q", text)
		}
		return nil
	})
}
