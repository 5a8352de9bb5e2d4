package remotejwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/token"
)

// start is the time at which every test begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// loopback lets a fetcher reach the servers of the tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// issuer is somebody else's issuer: a TLS server whose answers a test sets by path, and which counts what it is asked.
type issuer struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   map[string]int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	i.Server = httptest.NewUnstartedServer(i)
	i.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are what some tests are about
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	answer := i.answers[r.URL.Path]
	i.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

func (i *issuer) handle(path string, answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[path] = answer
}

// publish answers with the body, and with the header lines given as name and value.
func (i *issuer) publish(path string, body []byte, header ...string) {
	i.handle(path, func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		_, _ = w.Write(body)
	})
}

func (i *issuer) hits(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// source is one whose keys are at the path /jwks, without discovery.
func (i *issuer) source() Source {
	return Source{IssuerURL: i.URL, JWKSURL: i.URL + "/jwks", CABundle: i.caBundle()}
}

func (i *issuer) caBundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}))
}

// newFetcher returns a fetcher on a fake clock that may reach the test servers.
func newFetcher(source Source, changes *[]*Set) (*Fetcher, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(start)
	options := Options{Clock: clock, AllowedInternal: loopback}
	if changes != nil {
		options.OnChange = func(set *Set) { *changes = append(*changes, set) }
	}
	f := New(source, options)
	f.chance = func() float64 { return 0 }
	return f, clock
}

// cycle fetches once, as Run does.
func cycle(t *testing.T, f *Fetcher) Status {
	t.Helper()
	f.depart()
	f.finish(f.fetch(t.Context()))
	return f.Status()
}

// cycleWell fetches once and expects that to succeed.
func cycleWell(t *testing.T, f *Fetcher) {
	t.Helper()
	if status := cycle(t, f); status.LastError != "" {
		t.Fatalf("the fetch failed: %s", status.LastError)
	}
}

func ecKey(t testing.TB, id string, curve elliptic.Curve) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{KeyID: id, Key: key.Public()}
}

func p256(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	return ecKey(t, id, elliptic.P256())
}

func edKey(t testing.TB, id string) jose.JSONWebKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{KeyID: id, Key: public}
}

var rsaPrivate = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func rsaKey(id string) jose.JSONWebKey {
	return jose.JSONWebKey{KeyID: id, Key: rsaPrivate().Public()}
}

// with returns the JWK with members set, or with those removed whose value is nil.
func with(t testing.TB, key jose.JSONWebKey, members map[string]any) map[string]any {
	t.Helper()
	document, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(document, &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, members)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

func jwks(t testing.TB, keys ...any) []byte {
	t.Helper()
	document, err := json.Marshal(map[string]any{"keys": append([]any{}, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func discovery(t testing.TB, issuerURL, jwksURI string) []byte {
	t.Helper()
	document, err := json.Marshal(map[string]string{"issuer": issuerURL, "jwks_uri": jwksURI})
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func ids(keys map[string]*token.Key) map[string][]jose.SignatureAlgorithm {
	algorithms := map[string][]jose.SignatureAlgorithm{}
	for id, key := range keys {
		algorithms[id] = key.Algorithms
	}
	return algorithms
}
