package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// Where an upstream publishes.
const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// upstream is somebody else's issuer: a TLS server with a discovery document and one key. Its answers can be replaced,
// and it counts what it is asked.
type upstream struct {
	*httptest.Server

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   map[string]int
	keyID   string
	key     *ecdsa.PrivateKey
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	u := &upstream{answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	u.Server = httptest.NewUnstartedServer(u)
	u.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are what some tests are about
	u.StartTLS()
	t.Cleanup(u.Close)
	u.rotate(t, "first")
	u.publish(t, discoveryPath, map[string]any{"issuer": u.URL, "jwks_uri": u.URL + keysPath})
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.asked[r.URL.Path]++
	answer := u.answers[r.URL.Path]
	u.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

func (u *upstream) handle(path string, answer http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answers[path] = answer
}

func (u *upstream) publish(t testing.TB, path string, document any) {
	t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	u.handle(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

// rotate replaces the key.
func (u *upstream) rotate(t testing.TB, keyID string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u.keyID, u.key = keyID, key
	u.publish(t, keysPath, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: keyID, Key: key.Public()}}})
}

// fetches is how often keys were asked for.
func (u *upstream) fetches() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked[keysPath]
}

// requests is how often anything was asked for.
func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	sum := 0
	for _, times := range u.asked {
		sum += times
	}
	return sum
}

func (u *upstream) spec() v1alpha1.UpstreamLogin {
	return v1alpha1.UpstreamLogin{
		IssuerURL: u.URL, Audiences: []string{"shop", "admin"}, SubjectClaim: "sub", SubjectPrefix: "idp:",
		CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})),
	}
}

// token is a good ID token with edits, signed by the present key.
func (u *upstream) token(t testing.TB, claims, header edit) string {
	t.Helper()
	payload := claims.of(map[string]any{
		"iss": u.URL, "sub": "alice", "aud": "shop", "iat": seconds - 10, "exp": seconds + 3600,
	})
	return sign(t, jose.ES256, u.key, u.keyID, payload, header)
}

func sign(
	t testing.TB, algorithm jose.SignatureAlgorithm, key any, keyID string, payload, header map[string]any,
) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", keyID)
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(document)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// newUpstreams returns upstreams on a fake clock that may reach the test servers.
func newUpstreams() (*Upstreams, *clocktesting.FakeClock) {
	clk := clocktesting.NewFakeClock(start)
	return NewUpstreams(UpstreamOptions{
		Clock: clk, AllowedInternal: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}), clk
}

// authenticate expects alice, or an error.
func authenticate(t *testing.T, upstreams *Upstreams, spec v1alpha1.UpstreamLogin, token string, want error) error {
	t.Helper()
	identity, err := upstreams.Authenticate(t.Context(), []v1alpha1.UpstreamLogin{spec}, token)
	if !errors.Is(err, want) || (want != nil) != (err != nil) {
		t.Errorf("error %v, want %v", err, want)
	}
	if err == nil && identity.Subject != "idp:alice" {
		t.Errorf("subject %q, want alice", identity.Subject)
	}
	wantNoPartOf(t, err, token)
	return err
}

// TestSignatures has tokens that say what they should, and are signed as they should not be.
func TestSignatures(t *testing.T) {
	remote := newUpstream(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	published, err := remote.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	good := remote.token(t, nil, nil)
	parts := strings.Split(good, ".")
	payload := map[string]any{"iss": remote.URL, "sub": "alice", "aud": "shop", "iat": seconds, "exp": seconds + 3600}
	plain := func(header string) string { return base64.RawURLEncoding.EncodeToString([]byte(header)) }
	headed := func(header string) string { return plain(header) + "." + parts[1] + "." + parts[2] }
	twice := plain(`{"iss":"` + remote.URL + `","iss":"` + remote.URL + `"}`)
	other := strings.Split(remote.token(t, edit{"sub": "mallory"}, nil), ".")
	tests := map[string]struct {
		token string
		// fetches is false where it must be refused before the keys are asked for.
		fetches bool
	}{
		"another's key":  {token: sign(t, jose.ES256, stranger, "first", payload, nil), fetches: true},
		"an unknown key": {token: sign(t, jose.ES256, stranger, "unknown", payload, nil), fetches: true},
		"its own key in the header": {
			token:   sign(t, jose.ES256, stranger, "first", payload, edit{"jwk": jose.JSONWebKey{Key: stranger.Public()}}),
			fetches: true,
		},
		"no key id":                   {token: plain(`{"alg":"ES256"}`) + "." + parts[1] + "." + parts[2], fetches: true},
		"HMAC with the public key":    {token: sign(t, jose.HS256, published, "first", payload, nil)},
		"alg none":                    {token: plain(`{"alg":"none","kid":"first"}`) + "." + parts[1] + "."},
		"alg None":                    {token: plain(`{"alg":"None","kid":"first"}`) + "." + parts[1] + "." + parts[2]},
		"no alg":                      {token: plain(`{"kid":"first"}`) + "." + parts[1] + "." + parts[2]},
		"an algorithm of another key": {token: headed(`{"alg":"RS256","kid":"first"}`), fetches: true},
		"another payload":             {token: parts[0] + "." + other[1] + "." + parts[2], fetches: true},
		"no signature":                {token: parts[0] + "." + parts[1] + ".", fetches: true},
		"nothing":                     {},
		"two parts":                   {token: parts[0] + "." + parts[1]},
		"JSON serialization": {
			token: `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		},
		"a member twice in the claims": {token: parts[0] + "." + twice + "." + parts[2]},
		"a member twice in the header": {token: headed(`{"alg":"ES256","alg":"ES256","kid":"first"}`)},
		"claims that are not UTF-8":    {token: parts[0] + "." + plain("{\"iss\":\"\xff\"}") + "." + parts[2]},
		"too long":                     {token: remote.token(t, edit{"x": strings.Repeat("x", maxIDTokenBytes)}, nil)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			upstreams, _ := newUpstreams()
			before := remote.requests()
			_ = authenticate(t, upstreams, remote.spec(), test.token, ErrRefused)
			if fetched := remote.requests() > before; fetched != test.fetches {
				t.Errorf("keys were asked for: %t, want %t", fetched, test.fetches)
			}
			_ = authenticate(t, upstreams, remote.spec(), good, nil)
		})
	}
}

// TestKeyVerifiesItsOwnAlgorithm: a key that is published for one algorithm verifies no other, though it could.
func TestKeyVerifiesItsOwnAlgorithm(t *testing.T) {
	remote := newUpstream(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	published := jose.JSONWebKey{KeyID: "rsa", Key: key.Public(), Algorithm: string(jose.PS256)}
	remote.publish(t, keysPath, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{published}})
	upstreams, _ := newUpstreams()
	payload := map[string]any{"iss": remote.URL, "sub": "alice", "aud": "shop", "iat": seconds, "exp": seconds + 3600}
	_ = authenticate(t, upstreams, remote.spec(), sign(t, jose.RS256, key, "rsa", payload, nil), ErrRefused)
	_ = authenticate(t, upstreams, remote.spec(), sign(t, jose.PS256, key, "rsa", payload, nil), nil)
}

func TestUpstreamsAreNotOffered(t *testing.T) {
	upstreams, _ := newUpstreams()
	if _, err := upstreams.Authenticate(t.Context(), nil, "a.b.c"); !errors.Is(err, ErrNotOffered) {
		t.Errorf("error %v, want ErrNotOffered", err)
	}
}

func TestUpstreamIsFoundByIssuer(t *testing.T) {
	first, second, unlisted := newUpstream(t), newUpstream(t), newUpstream(t)
	upstreams, _ := newUpstreams()
	specs := []v1alpha1.UpstreamLogin{first.spec(), second.spec()}
	specs[1].SubjectPrefix = "second:"
	identity, err := upstreams.Authenticate(t.Context(), specs, second.token(t, nil, nil))
	if err != nil || identity.Subject != "second:alice" {
		t.Errorf("subject %q, error %v; want that of the second", identity.Subject, err)
	}
	if first.requests() != 0 {
		t.Error("the first was asked about a token of the second")
	}
	// Signed by the second, in the name of the first.
	_, err = upstreams.Authenticate(t.Context(), specs, second.token(t, edit{"iss": first.URL}, nil))
	if !errors.Is(err, ErrRefused) {
		t.Errorf("a token in the name of another issuer: %v, want ErrRefused", err)
	}
	for _, iss := range []any{unlisted.URL, first.URL + "/", strings.ToUpper(first.URL), nil, 7} {
		before := first.requests()
		_, err := upstreams.Authenticate(t.Context(), specs, unlisted.token(t, edit{"iss": iss}, nil))
		if !errors.Is(err, ErrRefused) || first.requests() != before || unlisted.requests() != 0 {
			t.Errorf("iss %v: error %v, want ErrRefused and no request", iss, err)
		}
	}
}
