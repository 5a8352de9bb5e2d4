package operator

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
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is a running operator.
type process struct {
	*testing.T
	command                *exec.Cmd
	log                    *logged
	https, metrics, health string // addresses
	certificate            string // file
	ended                  chan struct{}
	err                    error // after ended
}

// logged is what the process has written so far.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// run starts the operator with everything it logs kept, and stops it at the end of the test.
func run(a *administrator, kubeconfig []byte, flags ...string) *process {
	a.Helper()
	folder := a.TempDir()
	config := filepath.Join(folder, "kubeconfig")
	if err := os.WriteFile(config, kubeconfig, 0o600); err != nil {
		a.Fatal(err)
	}
	p := &process{
		T: a.T, log: &logged{}, ended: make(chan struct{}), certificate: filepath.Join(folder, "tls.crt"),
		https: freeAddress(a.T), metrics: freeAddress(a.T), health: freeAddress(a.T),
	}
	p.command = exec.Command(command(a.T), append([]string{
		"--kubeconfig=" + config, "--bind-address=" + p.https, "--metrics-bind-address=" + p.metrics,
		"--health-bind-address=" + p.health, "--tls-self-signed-hosts=127.0.0.1", "--tls-self-signed-cert-out=" + p.certificate,
		"--leader-election-namespace=" + a.namespace, "--log-level=debug",
	}, flags...)...)
	p.command.Stderr, p.command.Stdout = p.log, p.log
	if err := p.command.Start(); err != nil {
		a.Fatalf("starting the operator: %v", err)
	}
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	a.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if a.Failed() {
			a.Logf("the operator's log:\n%s", p.log)
		}
	})
	return p
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// alive fails if the process has ended, so that nobody waits for it in vain.
func (p *process) alive() {
	p.Helper()
	select {
	case <-p.ended:
		p.Fatalf("the operator has ended: %v", p.err)
	default:
	}
}

// status is the answer of /readyz or /healthz; 0 while nobody listens.
func (p *process) status(path string) (code int, body string) {
	response, err := http.Get("http://" + p.health + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// ready waits for /readyz.
func (p *process) ready() {
	p.Helper()
	eventually(p.T, "the operator ready", func() error {
		p.alive()
		if code, body := p.status("/readyz"); code != http.StatusOK {
			return fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return nil
	})
}

// client trusts the certificate of the process and nothing else.
func (p *process) client() *http.Client {
	p.Helper()
	trusted := x509.NewCertPool()
	certificate, err := os.ReadFile(p.certificate)
	if err != nil || !trusted.AppendCertsFromPEM(certificate) {
		p.Fatalf("the certificate of the operator: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}
	p.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// verify asks for a verdict as a gateway does.
func (p *process) verify(c *http.Client, raw string) (int, http.Header, error) {
	request, err := http.NewRequest(http.MethodGet, "https://"+p.https+"/verify", http.NoBody)
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

// wantVerdict waits for this status of /verify.
func (p *process) wantVerdict(c *http.Client, raw string, want int) http.Header {
	p.Helper()
	var header http.Header
	eventually(p.T, fmt.Sprintf("verdict %d", want), func() error {
		p.alive()
		code, got, err := p.verify(c, raw)
		if header = got; err != nil || code != want {
			return fmt.Errorf("verdict %d %s, error %w", code, got.Get("WWW-Authenticate"), err)
		}
		return nil
	})
	return header
}

// scrape reads the metrics.
func (p *process) scrape() string {
	p.Helper()
	response, err := http.Get("http://" + p.metrics + "/metrics")
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

// terminate sends SIGTERM.
func (p *process) terminate() {
	p.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatalf("sending SIGTERM: %v", err)
	}
}

// wantLogged waits until the log has this in it.
func (p *process) wantLogged(text string) {
	p.Helper()
	eventually(p.T, "the log", func() error {
		if !strings.Contains(p.log.String(), text) {
			return fmt.Errorf("it does not say %q", text)
		}
		return nil
	})
}
