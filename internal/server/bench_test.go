package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// bareServer is a client of a TLS server whose handler does nothing, over HTTP/1.1.
func bareServer(b *testing.B) *http.Client {
	b.Helper()
	bare := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	b.Cleanup(bare.Close)
	client := bare.Client()
	transport := client.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, bare.Listener.Addr().String())
	}
	transport.TLSClientConfig.ServerName = "example.com"
	return client
}

// http1 is a client that keeps one connection, over HTTP/1.1.
func (r *running) http1() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.trusted, NextProtos: []string{"http/1.1"}},
	}}
}

// nowhere is a response that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// The handler alone: what a verification costs beside net/http and TLS.
func BenchmarkVerifyHandler(b *testing.B) {
	issuer := newSigned(b)
	options := testOptions()
	options.Verifier = issuer.verifier()
	s := New(options)
	for name, target := range map[string]string{
		"allow": "/verify?audience=shop-api&scope=orders:read",
		"deny":  "/verify?audience=bank-api",
	} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest(http.MethodGet, target, nil)
			request.Header = bearer(issuer.mint(b, nil))
			b.ReportAllocs()
			for b.Loop() {
				w := nowhere{http.Header{}}
				s.ServeHTTP(w, request)
				if len(w.header) == 0 {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// The costs of a verification over HTTPS on a connection that is kept, beside those of a handler that does nothing.
func BenchmarkVerifyOverHTTPS(b *testing.B) {
	issuer := newSigned(b)
	server := start(b, Options{Verifier: issuer.verifier()})
	run := func(b *testing.B, client *http.Client, url string, header http.Header) {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		request.Header = header
		for b.Loop() {
			response, err := client.Do(request)
			if err != nil {
				b.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				b.Fatalf("status %d", response.StatusCode)
			}
		}
	}
	header := bearer(issuer.mint(b, nil))
	b.Run("bare", func(b *testing.B) { run(b, bareServer(b), "https://bare", header) })
	b.Run("verify", func(b *testing.B) {
		run(b, server.http1(), "https://"+server.address+"/verify?audience=shop-api&scope=orders:read", header)
	})
}
