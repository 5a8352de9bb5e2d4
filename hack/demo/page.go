package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/keyturn/keyturn/internal/loopback"
)

// page is examples/browser as a process of its own: a page to log in at, and the gateway in front of its API.
type page struct {
	process *exec.Cmd
	logFile *os.File
	url     string
	died    chan struct{}
}

// startPage starts it at a free port of loopback. Its certificate is self-signed.
func startPage(f folder, keyturn string) (*page, error) {
	port, err := loopback.Port()
	if err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(f.path("browser.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of the page: %w", err)
	}
	p := &page{logFile: logFile, url: "https://localhost:" + port, died: make(chan struct{})}
	// Not bound to a context: stop ends it.
	p.process = exec.Command(f.program("browser"), //nolint:gosec,noctx // Just built; see above.
		"-listen", "localhost:"+port, "-keyturn", keyturn, "-keyturn-ca", f.certificate(), "-audience", shop+"-api")
	p.process.Stdout, p.process.Stderr = logFile, logFile
	if err := p.process.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the page: %w", err), logFile.Close())
	}
	go func() {
		_ = p.process.Wait() // why it ended is in its log
		close(p.died)
	}()
	return p, nil
}

// stop kills the page.
func (p *page) stop() error {
	_ = p.process.Process.Kill() // fails if it has died already, which is as good
	<-p.died
	return p.logFile.Close()
}

// openPage starts the page and the issuer behind it, and returns carol's password.
func (s *stage) openPage(ctx context.Context) (password string, err error) {
	if s.page, err = startPage(s.folder, s.operator.url); err != nil {
		return "", err
	}
	return s.addMembers(ctx, s.page.url, "accessLifetime: 1m")
}
