package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/loopback"
)

func TestSelfSigned(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for host, want := range map[string]string{"localhost": "localhost", "127.0.0.1": "127.0.0.1", "": "localhost"} {
		certificate, err := selfSigned(host, now)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(leaf)
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: want, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("-listen %q: %v", host, err)
		}
		if err := leaf.VerifyHostname("shop.example"); err == nil {
			t.Errorf("-listen %q: the certificate is also for shop.example", host)
		}
	}
}

// TestServe starts the server with a certificate from files, gets the page, and ends it.
func TestServe(t *testing.T) {
	folder := t.TempDir()
	o := options{keyturn: "https://localhost:1"}
	o.certificate, o.key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	made, err := selfSigned("localhost", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, o.certificate, "CERTIFICATE", made.Certificate[0])
	writePEM(t, o.key, "PRIVATE KEY", key)
	o.keyturnCA = o.certificate
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	o.listen = "localhost:" + port

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, o) }()
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(made.Certificate[0])))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	response, err := client.Get("https://" + o.listen)
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
		select {
		case err := <-ended:
			t.Fatalf("the server has ended: %v", err)
		default:
			response, err = client.Get("https://" + o.listen)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || !strings.Contains(string(body), "keyturn-issuer") {
		t.Errorf("the page is %q, error %v", body, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o    options
		want string
	}{
		"an address that is no URL": {options{keyturn: "https://[", listen: "localhost:0"}, "-keyturn: "},
		"no such authority":         {options{keyturn: "https://k", keyturnCA: filepath.Join(folder, "none")}, "-keyturn-ca: "},
		"an empty authority":        {options{keyturn: "https://k", keyturnCA: empty}, "has no certificate in PEM"},
		"a key without certificate": {options{keyturn: "https://k", key: empty}, "set both -tls-cert and -tls-key"},
		"no port":                   {options{keyturn: "https://k", listen: "localhost"}, "-listen: "},
		"no such address":           {options{keyturn: "https://k", listen: "192.0.2.1:1"}, "listening on 192.0.2.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			err := serve(t.Context(), test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func writePEM(t *testing.T, path, kind string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
