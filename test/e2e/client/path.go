package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"time"
)

const (
	// attemptTimeout bounds one attempt, and patience all attempts of one request.
	attemptTimeout = 5 * time.Second
	patience       = 15 * time.Second
	// retryPause is the pause before another attempt.
	retryPause = 50 * time.Millisecond
)

// path is one way to Keyturn, with connections of its own.
type path struct {
	name, base string
	client     *http.Client
	tally      *tally
	// pause is for those who ask again and again.
	pause time.Duration
}

// connections say how a path uses connections.
type connections int

const (
	keptAlive connections = iota // HTTP/1.1, as nginx and most gateways do
	http2                        // one connection for all requests, as Envoy may do
	alwaysNew                    // one connection a request
)

// target is where Keyturn is, and whose certificate it shows.
type target struct {
	// base is the URL that requests go to.
	base string
	// serverName is the name in the certificate.
	serverName string
	roots      *x509.CertPool
}

func newTarget(base, serverName, caFile string) (target, error) {
	ca, err := os.ReadFile(caFile) //nolint:gosec // The file is the suite's own choice.
	if err != nil {
		return target{}, fmt.Errorf("reading whom to trust: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return target{}, fmt.Errorf("%s holds no certificate", caFile)
	}
	return target{base: base, serverName: serverName, roots: roots}, nil
}

func (t target) transport(use connections) *http.Transport {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: t.roots, ServerName: t.serverName, MinVersion: tls.VersionTLS12},
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSHandshakeTimeout: attemptTimeout,
		ForceAttemptHTTP2:   use == http2,
		DisableKeepAlives:   use == alwaysNew,
		// Shorter than Keyturn's, as with the pools of all common gateways.
		IdleConnTimeout: time.Minute,
	}
}

func (t target) path(name string, use connections, tally *tally) *path {
	pause := requestPause
	if use == alwaysNew {
		pause = connectionPause
	}
	return &path{name: name, base: t.base, client: &http.Client{Transport: t.transport(use)}, tally: tally, pause: pause}
}

// answer is what Keyturn said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks until there is an answer, counts, and returns whether it was as it must be. denial says what is wrong with an
// answer, or nothing.
func (p *path) get(ctx context.Context, url string, header http.Header, denial func(answer) string) (good bool) {
	start, attempts, broken := realTime.Now(), 0, error(nil)
	for {
		got, tried, err := p.attempt(ctx, url, header)
		attempts += tried
		took := realTime.Since(start)
		if ctx.Err() != nil {
			return false // The client itself is ending.
		}
		if err == nil {
			wrong := denial(got)
			p.tally.answered(p.name, attempts, took, wrong, broken)
			return wrong == ""
		}
		if took > patience {
			p.tally.failed(p.name, attempts, took, err)
			return false
		}
		if broken == nil {
			broken = err // The first break is the cause.
		}
		realTime.Sleep(retryPause)
	}
}

// attempt sends the request once, and returns how often that was really: net/http by itself repeats a request whose
// connection turns out to be closed, and this must not go unnoticed.
func (p *path) attempt(ctx context.Context, url string, header http.Header) (got answer, attempts int, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	connected := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected++ }})
	//nolint:gosec // Whom to ask is the suite's own choice.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+url, http.NoBody)
	if err != nil {
		return answer{}, 1, err
	}
	request.Header = header
	response, err := p.client.Do(request) //nolint:gosec // As above.
	if err != nil {
		return answer{}, max(connected, 1), err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: body}, max(connected, 1), err
}

// verify asks whether a token is good. It must be, and Keyturn must say whose it is.
func (p *path) verify(ctx context.Context, token, subject string) bool {
	header := http.Header{"Authorization": {"Bearer " + token}}
	return p.get(ctx, "/verify", header, func(got answer) string {
		if got.status != http.StatusOK {
			return fmt.Sprintf("%d %s", got.status, strings.TrimSpace(string(got.body)))
		}
		if said := got.header.Get("X-Auth-Subject"); said != subject {
			return fmt.Sprintf("allowed as %q, but the token is about %q", said, subject)
		}
		return ""
	})
}
