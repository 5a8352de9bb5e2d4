package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// client sends requests to one server as a gateway does.
type client struct {
	server *running
	http   *http.Client
	// requests are one for each token, to be used by one goroutine at a time.
	tokens []string
}

func newClient(b *testing.B, server *running, certificate certificateFiles, protocol string) *client {
	b.Helper()
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(certificate.read(b)) {
		b.Fatal("no certificate")
	}
	var protocols http.Protocols
	protocols.SetHTTP1(protocol == "http1")
	protocols.SetHTTP2(protocol == "http2")
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13},
		Protocols:           &protocols,
		MaxConnsPerHost:     connections,
		MaxIdleConnsPerHost: connections,
		DisableCompression:  true,
	}
	b.Cleanup(transport.CloseIdleConnections)
	return &client{server: server, http: &http.Client{Transport: transport}, tokens: server.tokens}
}

// cost sends requests, and returns the CPU time of the server for each of them, in nanoseconds.
func (c *client) cost(b *testing.B, requests int) float64 {
	b.Helper()
	before := c.server.cpu(b)
	c.send(b, requests)
	return float64(c.server.cpu(b)-before) / float64(requests)
}

// send sends requests over all connections at once, with the tokens in turn.
func (c *client) send(b *testing.B, requests int) {
	b.Helper()
	var workers sync.WaitGroup
	for worker := range connections {
		workers.Go(func() {
			for n := worker; n < requests; n += connections {
				if err := c.ask(c.tokens[n%len(c.tokens)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func (c *client) ask(token string) error {
	request, err := http.NewRequest(http.MethodGet, "https://"+c.server.address+"/verify?audience=shop-api&scope=orders:read", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK || response.TLS.Version != tls.VersionTLS13 {
		return fmt.Errorf("status %s over %s", response.Status, tls.VersionName(response.TLS.Version))
	}
	return nil
}
