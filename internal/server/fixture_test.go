package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/token"
)

// hangLimit ends a test that would otherwise never end. No outcome depends on it.
const hangLimit = 60 * time.Second

// shop is the issuer of the fakes' tokens.
var shop = &token.Issuer{
	Namespace: "web", Name: "shop",
	URL:       "https://tokens.example.com/shop",
	Audiences: []string{"shop-api"},
	Scopes:    []string{"orders:read"},
}

// fakeVerifier knows the token "good", which is for the audience shop-api and has the scope orders:read, and the token
// "revoked". The token "panic" makes it panic. It notes what was asked.
type fakeVerifier struct {
	claims token.Claims
	// begun is when each verification began, as it says.
	begun time.Time

	mu     sync.Mutex
	tokens []string
	wanted []token.Want
}

func newFakeVerifier() *fakeVerifier {
	return &fakeVerifier{claims: token.Claims{
		Issuer: shop.URL, Subject: "alice", Audiences: []string{"shop-api", "stock-api"}, ID: "id-1",
		ClientID: "web", SessionID: "s-1", Scopes: []string{"orders:read"},
	}}
}

func (v *fakeVerifier) Verify(raw string, want token.Want) token.Result {
	result := v.judge(raw, want)
	result.Begun = v.begun
	return result
}

func (v *fakeVerifier) judge(raw string, want token.Want) token.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens, v.wanted = append(v.tokens, raw), append(v.wanted, want)
	audiences := want.Audiences
	if len(audiences) == 0 {
		audiences = shop.Audiences
	}
	switch raw {
	case "panic":
		panic("a value with a token in it")
	case "early":
		return token.Result{Reason: token.NotSynced}
	case "foreign":
		return token.Result{Reason: token.IssuerUnknown}
	case "revoked":
		return token.Result{Reason: token.Revoked, Issuer: shop}
	case "good":
	default:
		return token.Result{Reason: token.Malformed}
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(v.claims.Audiences, a) }) {
		return token.Result{Reason: token.AudienceMismatch, Issuer: shop}
	}
	for _, scope := range want.Scopes {
		if !slices.Contains(v.claims.Scopes, scope) {
			return token.Result{Reason: token.ScopeInsufficient, Issuer: shop}
		}
	}
	return token.Result{Reason: token.Allowed, Issuer: shop, Claims: &v.claims}
}

func (v *fakeVerifier) lastWant(t *testing.T) token.Want {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.wanted) == 0 {
		t.Fatal("the verifier was not asked")
	}
	return v.wanted[len(v.wanted)-1]
}

// fakePublications holds publications by URL and by namespace/name.
type fakePublications map[string]*issuers.Publication

func (p fakePublications) PublicationByURL(url string) *issuers.Publication { return p[url] }

func (p fakePublications) PublicationByName(namespace, name string) *issuers.Publication {
	return p[namespace+"/"+name]
}

func newFakePublications() fakePublications {
	publication := func(url string) *issuers.Publication {
		return &issuers.Publication{
			IssuerURL: url,
			JWKS:      issuers.Document{Body: []byte(`{"keys":[]}`), ETag: `"jwks-1"`},
			Discovery: issuers.Document{Body: []byte(`{"issuer":"` + url + `"}`), ETag: `"discovery-1"`},
			MaxAge:    10 * time.Minute,
		}
	}
	atPath, atRoot := publication(shop.URL), publication("https://root.example.com")
	atPort := publication("https://port.example.com:8443/a/b")
	return fakePublications{
		atPath.IssuerURL: atPath, "web/shop": atPath,
		atRoot.IssuerURL: atRoot, atPort.IssuerURL: atPort,
	}
}

// running is a server on a real listener.
type running struct {
	*Server
	address string
	trusted *x509.CertPool
	// stop ends the context of Start; ended gives what Start returned.
	stop  context.CancelFunc
	ended chan error
}

// start runs a server with a self-signed certificate until the end of the test.
func start(t testing.TB, options Options) *running {
	t.Helper()
	if options.Verifier == nil {
		options.Verifier = newFakeVerifier()
	}
	if options.Publications == nil {
		options.Publications = newFakePublications()
	}
	if options.ShutdownDelay == 0 {
		options.ShutdownDelay = -1
	}
	if options.TLS.CertFile == "" {
		options.TLS = TLSOptions{Hosts: []string{"localhost", "127.0.0.1"}, CertOut: filepath.Join(t.TempDir(), "ca.crt")}
	}
	if options.Listener == nil {
		options.Listener = loopback(t)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Server: New(options), address: options.Listener.Addr().String(), stop: stop, ended: make(chan error, 1)}
	go func() {
		err := r.Start(ctx)
		r.ended <- err
		close(r.ended)
	}()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.ended:
			if err != nil {
				t.Errorf("Start: %v", err)
			}
		case <-time.After(hangLimit):
			t.Error("the server does not end")
		}
	})
	eventually(t, "the server is ready", func() bool { return r.Ready(nil) == nil })
	r.trusted = x509.NewCertPool()
	if file := options.TLS.CertOut; file != "" {
		content, err := os.ReadFile(file)
		if err != nil || !r.trusted.AppendCertsFromPEM(content) {
			t.Fatalf("no certificate in %s: %v", file, err)
		}
	}
	return r
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// client speaks HTTP/2 if it can, keeps connections, and follows no redirects.
func (r *running) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: r.trusted},
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       hangLimit,
	}
}

// dial opens a connection that speaks HTTP/1.1.
func (r *running) dial(t testing.TB) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: r.trusted, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(hangLimit)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// answered is a response with its body read.
type answered struct {
	*http.Response
	body string
}

// raw sends bytes as they are, on a connection of their own, and reads one answer. Lines may end in LF.
func (r *running) raw(t testing.TB, request string) answered {
	t.Helper()
	conn := r.dial(t)
	request = strings.ReplaceAll(strings.ReplaceAll(request, "\r\n", "\n"), "\n", "\r\n")
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(conn), request)
}

func readAnswer(t testing.TB, from *bufio.Reader, request string) answered {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %.80q: %v", request, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("the answer to %.80q broke off: %v", request, err)
	}
	return answered{response, string(body)}
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	limit := time.NewTimer(hangLimit)
	defer limit.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-limit.C:
			t.Fatalf("it never happened that %s", what)
		case <-tick.C:
		}
	}
}
