package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/token"
	"github.com/keyturn/keyturn/test/bench/revoked"
)

// The environment of a server's process: what it serves, the folder of its certificate, and the folder in which it
// leaves a CPU profile with its name. The last one is for people: -cpuprofile shows the client only. Default: no profile.
const (
	serverVariable      = "KEYTURN_BENCH_SERVER"
	certificateVariable = "KEYTURN_BENCH_CERTIFICATE"
	profileVariable     = "KEYTURN_BENCH_PROFILE"
)

// serve is the process of a server: it says that it is ready, and then, for each line that it is sent, how much CPU time
// it has used so far, in nanoseconds.
func serve(kind, certificate string) error {
	if folder := os.Getenv(profileVariable); folder != "" {
		profile, err := os.Create(filepath.Join(folder, kind+".prof"))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	files := certificateFiles(certificate)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	first := ready{Address: listener.Addr().String()}
	failed := make(chan error, 1)
	handlers := map[string]http.Handler{"bare": nothing, "headers": headersOnly}
	switch kind {
	case "bare", "headers":
		compared := server.Limited(handlers[kind])
		compared.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
		go func() { failed <- compared.ServeTLS(listener, files.certificate(), files.key()) }()
	case "verify":
		s, tokens, err := newVerifyServer(listener, files)
		if err != nil {
			return err
		}
		first.Tokens = tokens
		go func() { failed <- s.Start(context.Background()) }()
	default:
		return fmt.Errorf("no server is called %q", kind)
	}
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(first); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if err := answers.Encode(cpu()); err != nil {
				ended <- err
				return
			}
		}
		ended <- lines.Err()
	}()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// nothing is the least that a handler can do.
var nothing = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// headersOnly sends the headers that an answer to a gateway has, and is not asked what to put in.
var headersOnly = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header["X-Auth-Subject"] = []string{"user-1"}
	header["X-Auth-Session"] = []string{"sid-1"}
	header["X-Auth-Scopes"] = []string{"orders:read orders:write"}
	header["X-Auth-Issuer"] = []string{"https://tokens.example.com/shop"}
	header["X-Auth-Client"] = []string{"web"}
	header["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(http.StatusOK)
})

// newVerifyServer is the server of production, with one issuer, and tokens of it.
func newVerifyServer(listener net.Listener, files certificateFiles) (*server.Server, []string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	one := &token.Issuer{
		Namespace: "shop", Name: "tokens", URL: "https://tokens.example.com/shop",
		Keys: map[string]*token.Key{"key-1": {
			ID: "key-1", Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Public: private.Public(), MaxLifetime: 24 * time.Hour,
		}},
		Audiences: []string{"shop-api"}, Types: []string{"at+jwt"}, Revocations: revoked.Others(),
	}
	tokens, err := mint(one, private, 256)
	if err != nil {
		return nil, nil, err
	}
	return server.New(server.Options{
		Verifier:     token.NewVerifier(directory{one}, clock.RealClock{}, token.Options{}),
		Publications: directory{one},
		Listener:     listener,
		TLS:          server.TLSOptions{CertFile: files.certificate(), KeyFile: files.key()},
		Registerer:   prometheus.NewRegistry(),
	}), tokens, nil
}

func mint(of *token.Issuer, private *ecdsa.PrivateKey, count int) ([]string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "key-1"))
	if err != nil {
		return nil, err
	}
	now, tokens := time.Now(), make([]string, count)
	for n := range tokens {
		tokens[n], err = jwt.Signed(signer).Claims(map[string]any{
			"iss": of.URL, "sub": fmt.Sprintf("user-%d", n), "aud": "shop-api", "jti": fmt.Sprintf("jti-%d", n),
			"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "client_id": "web", "sid": fmt.Sprintf("sid-%d", n),
			"scope": "orders:read orders:write",
		}).Serialize()
		if err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// directory holds one issuer, which publishes nothing.
type directory struct{ issuer *token.Issuer }

func (d directory) Synced() bool { return true }

func (d directory) ByURL(url string) *token.Issuer {
	if url != d.issuer.URL {
		return nil
	}
	return d.issuer
}

func (directory) PublicationByURL(string) *issuers.Publication { return nil }

func (directory) PublicationByName(_, _ string) *issuers.Publication { return nil }
