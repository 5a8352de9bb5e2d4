package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestSelfSigned(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	out := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(out, []byte("of an earlier start"), 0o600); err != nil {
		t.Fatal(err)
	}
	var expires time.Time
	source, err := loadCertificates(TLSOptions{Hosts: []string{"keyturn.svc", "10.0.0.1", "::1"}, CertOut: out},
		clocktesting.NewFakePassiveClock(now), func(at time.Time) { expires = at })
	if err != nil {
		t.Fatal(err)
	}
	if want := now.AddDate(1, 0, 0); !expires.Equal(want) || source.watch != nil {
		t.Errorf("expires at %s, want %s", expires, want)
	}
	content, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(content)
	certificate, err := source.config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"keyturn.svc", "10.0.0.1", "::1"} {
		if _, err := certificate.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if certificate.Leaf.IsCA {
		t.Error("the certificate could sign others")
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %s, want -rw-r--r-- (%v)", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are left, want 1 (%v)", len(left), err)
	}
}

// A Secret is mounted as files behind a symbolic link, which the kubelet swaps.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	pool := []*x509.CertPool{x509.NewCertPool(), x509.NewCertPool()}
	for i, version := range []string{"v1", "v2"} {
		pool[i].AddCert(writeCertificate(t, filepath.Join(dir, version)))
	}
	point := func(version string) {
		t.Helper()
		next := filepath.Join(dir, "next")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	point("v1")
	for _, file := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("data", file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	server := start(t, Options{TLS: TLSOptions{
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
	}})
	server.trusted = pool[0]
	if answer := server.raw(t, "GET /nothing HTTP/1.1\nHost: a\n\n"); answer.StatusCode != http.StatusNotFound {
		t.Fatalf("status %d", answer.StatusCode)
	}
	point("v2")
	if err := os.RemoveAll(filepath.Join(dir, "v1")); err != nil { // as the kubelet does, after the swap
		t.Fatal(err)
	}
	eventually(t, "the second certificate is served", func() bool {
		conn, err := tls.Dial("tcp", server.address, &tls.Config{RootCAs: pool[1], ServerName: "localhost"})
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// source hands out what the test puts into it.
type source struct {
	current atomic.Pointer[tls.Certificate]
	told    chan func(time.Time)
	ended   chan struct{}
}

var errNothingYet = errors.New("nothing yet")

func (s *source) Run(ctx context.Context, expires func(time.Time)) error {
	s.told <- expires
	<-ctx.Done()
	close(s.ended)
	return nil
}

func (s *source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := s.current.Load(); certificate != nil {
		return certificate, nil
	}
	return nil, errNothingYet
}

// TestCertificateSource checks that a server is not ready before its source has a certificate, that the next handshake
// gets a new one, and that the source is kept running until the last request has been answered.
func TestCertificateSource(t *testing.T) {
	s := &source{told: make(chan func(time.Time), 1), ended: make(chan struct{})}
	registry := prometheus.NewPedanticRegistry()
	options := Options{
		Verifier: newFakeVerifier(), Publications: newFakePublications(), Listener: loopback(t), TLS: TLSOptions{Source: s},
		ShutdownDelay: time.Hour, Clock: clocktesting.NewFakeClock(time.Now()), Registerer: registry,
	}
	server := New(options)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	expires := <-s.told
	eventually(t, "the server says why it is not ready", func() bool {
		return errors.Is(server.Ready(nil), errNothingYet)
	})

	handshake := func(trusted *x509.Certificate) error {
		pool := x509.NewCertPool()
		pool.AddCert(trusted)
		conn, err := tls.Dial("tcp", options.Listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	for range 2 {
		certificate, err := newSelfSigned([]string{"localhost"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if handshake(certificate.Leaf) == nil {
			t.Error("a handshake succeeds before the certificate is there")
		}
		s.current.Store(certificate)
		if err := errors.Join(server.Ready(nil), handshake(certificate.Leaf)); err != nil {
			t.Error(err)
		}
	}
	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	expires(at)
	if got := testutil.ToFloat64(server.metrics.certificate); got != float64(at.Unix()) {
		t.Errorf("the metric is %f", got)
	}

	stop()
	eventually(t, "the server drains", func() bool { return server.draining.Load() })
	select {
	case <-s.ended:
		t.Error("the source has ended while the server still serves")
	default:
	}
	clock := options.Clock.(*clocktesting.FakeClock)
	eventually(t, "the server waits for gateways to notice", clock.HasWaiters)
	clock.Step(2 * time.Hour)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-s.ended
}

func TestSourceAndFiles(t *testing.T) {
	err := New(Options{TLS: TLSOptions{Source: &source{}, CertFile: "tls.crt", KeyFile: "tls.key"}}).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "set only one") {
		t.Errorf("%v, want it refused", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := start(t, Options{})
	conn, err := tls.Dial("tcp", server.address, &tls.Config{RootCAs: server.trusted, MaxVersion: tls.VersionTLS11})
	if err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is accepted")
	}
}

// writeCertificate makes tls.crt and tls.key in a new directory.
func writeCertificate(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	certificate, err := newSelfSigned([]string{"localhost", "127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate.Leaf.Raw},
		"tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate.Leaf
}
