package gateways

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// traits are what gateways do differently.
type traits struct {
	// noScopeChallenge: a 403 goes to the client without the WWW-Authenticate that Keyturn gave it.
	noScopeChallenge bool
	// patience is how long the gateway waits for a Keyturn that does not answer. Zero where it cannot be set, and is so long
	// that no test waits for it.
	patience time.Duration
}

// prove checks what the configuration of any gateway promises: it requires the issuer, the audience shop-api and
// the scope orders:read.
func (g *gateway) prove(has traits) {
	g.allows()
	g.denies(has)
	g.cannotBeTalkedRound()
	g.denyRevoked()
	if has.patience > 0 {
		g.deniesWhileHanging(has.patience)
	}
	g.deniesAlone()
}

// forged is what a client would like the application to believe.
func forged() []string {
	var header []string
	for _, name := range identityHeaders {
		header = append(header, name+": forged", strings.ToLower(name)+": forged again")
	}
	return header
}

// allows checks that a good token passes, and that the application is told of it and of nothing that the client made up.
func (g *gateway) allows() {
	g.Helper()
	plain := map[string]string{"X-Auth-Subject": "carol", "X-Auth-Scopes": "orders:read", "X-Auth-Issuer": g.issuer.Spec.IssuerURL}
	full := map[string]string{
		"X-Auth-Subject": "dora", "X-Auth-Scopes": "orders:read orders:write", "X-Auth-Issuer": g.issuer.Spec.IssuerURL,
		"X-Auth-Session": "4711", "X-Auth-Client": "web",
	}
	everything := g.token(claims{"sub": "dora", "scope": "orders:read orders:write", "sid": "4711", "client_id": "web"})
	for name, c := range map[string]struct {
		token, method, body string
		header              []string
		want                map[string]string
	}{
		"a token that says little":                {token: g.token(nil), want: plain},
		"a token that says little, and a forgery": {token: g.token(nil), header: forged(), want: plain},
		"a token that says all":                   {token: everything, want: full},
		"a token that says all, and a forgery":    {token: everything, header: forged(), want: full},
		"a large body":                            {token: g.token(nil), method: http.MethodPost, body: strings.Repeat("order", 100_000), want: plain},
		"headers called hop-by-hop":               {token: g.token(nil), header: []string{"Connection: close, X-Auth-Subject, X-Auth-Issuer, X-Auth-Scopes"}, want: plain},
		"headers of an upgrade":                   {token: g.token(nil), header: upgrade(), want: plain},
	} {
		method := http.MethodGet
		if c.method != "" {
			method = c.method
		}
		got := g.ask(method, "/orders", c.token, c.header, c.body)
		reached := g.upstream.take()
		if got.status != http.StatusOK || len(reached) != 1 {
			g.Errorf("%s: the answer is %d %s, and %d requests reached the application; want 200 and one", name, got.status, got.body, len(reached))
			continue
		}
		if reached[0].method != method || reached[0].body != int64(len(c.body)) {
			g.Errorf("%s: %s with %d bytes reached the application, want %s with %d", name, reached[0].method, reached[0].body, method, len(c.body))
		}
		for _, header := range identityHeaders {
			if values := strings.Join(reached[0].header.Values(header), ", "); values != c.want[header] {
				g.Errorf("%s: the application is told %s %q, want %q", name, header, values, c.want[header])
			}
		}
	}
}

func upgrade() []string {
	return []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
}

// denies checks that nothing else passes, and that the client is told why.
func (g *gateway) denies(has traits) {
	g.Helper()
	good, past := g.token(nil), time.Now().Add(-time.Hour)
	header, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for name, c := range map[string]struct {
		token  string
		header []string
		status int
		want   []string
	}{
		"no token":                  {status: http.StatusUnauthorized, want: []string{"Bearer"}},
		"no token, but a forgery":   {header: forged(), status: http.StatusUnauthorized, want: []string{"Bearer"}},
		"no token, but an upgrade":  {header: upgrade(), status: http.StatusUnauthorized, want: []string{"Bearer"}},
		"nonsense":                  {token: "nonsense", status: http.StatusUnauthorized, want: []string{"invalid_token", "Malformed"}},
		"another signature":         {token: header + "." + payload + "." + strings.Repeat("A", 86), status: http.StatusUnauthorized, want: []string{"invalid_token", "SignatureInvalid"}},
		"an expired token":          {token: g.token(claims{"iat": past.Unix(), "exp": past.Add(time.Minute).Unix()}), status: http.StatusUnauthorized, want: []string{"invalid_token", "Expired"}},
		"another issuer":            {token: sign(g.TB, g.stranger, nil), status: http.StatusUnauthorized, want: []string{"invalid_token", "IssuerMismatch"}},
		"another audience":          {token: g.token(claims{"aud": "billing-api"}), status: http.StatusUnauthorized, want: []string{"invalid_token", "AudienceMismatch"}},
		"a scope that is not there": {token: g.token(claims{"scope": "orders:list"}), status: http.StatusForbidden, want: []string{"insufficient_scope", `scope="orders:read"`}},
	} {
		if c.status == http.StatusForbidden && has.noScopeChallenge {
			c.want = nil
		}
		for _, body := range []string{"", strings.Repeat("order", 1000)} {
			got := g.ask(http.MethodPost, "/orders", c.token, c.header, body)
			challenge := strings.Join(got.header.Values("WWW-Authenticate"), ", ")
			if got.status != c.status || len(g.upstream.take()) != 0 {
				g.Errorf("%s, with a body of %d bytes: the answer is %d %s %s, want %d and nothing for the application",
					name, len(body), got.status, challenge, got.body, c.status)
			}
			for _, part := range c.want {
				if !strings.Contains(challenge, part) {
					g.Errorf("%s, with a body of %d bytes: WWW-Authenticate is %q, want %q in it", name, len(body), challenge, part)
				}
			}
		}
	}
	// Two tokens are one too many. Gateways differ in who says so.
	for _, second := range []string{"Authorization: Bearer " + good, "authorization: Basic Y2Fyb2w6Y2Fyb2w="} {
		got := g.ask(http.MethodGet, "/orders", g.token(claims{"aud": "billing-api"}), []string{second}, "")
		if got.status < 400 || len(g.upstream.take()) != 0 {
			g.Errorf("with two Authorization headers the answer is %d %s, want a denial", got.status, got.body)
		}
	}
}

// cannotBeTalkedRound sends a token that falls short with paths and headers that try to lower what is required.
func (g *gateway) cannotBeTalkedRound() {
	g.Helper()
	for _, target := range []string{
		"/orders?audience=billing-api", "/orders?audience=billing-api&scope=orders:list", "/?scope=orders:list", "//orders", "/orders//7",
		"/orders%2F7", "/orders/../_verify", "/_verify", "/_verify?audience=billing-api", "//_verify", "/%5fverify", "/verify",
		"/..%2f..%2fverify?audience=billing-api", "/orders;audience=billing-api", "/%00", "/orders%3Faudience=billing-api",
		"http://shop.example/orders?audience=billing-api",
	} {
		for what, short := range map[string]claims{"another audience": {"aud": "billing-api"}, "another scope": {"scope": "orders:list"}} {
			got := g.ask(http.MethodGet, target, g.token(short), []string{
				"X-Forwarded-Uri: /verify?audience=billing-api", "X-Original-URI: /?audience=billing-api", "X-Forwarded-Method: OPTIONS",
				"X-Forwarded-Host: " + serviceName,
			}, "")
			if reached := g.upstream.take(); got.status < 400 || len(reached) != 0 {
				g.Errorf("%s with %s: the answer is %d, and %d requests reached the application; want a denial", target, what, got.status, len(reached))
			}
		}
	}
	// The same paths are not in the way of a token that is enough.
	for _, target := range []string{"/orders?audience=billing-api", "/?scope=orders:list", "//orders", "/verify"} {
		got := g.ask(http.MethodGet, target, g.token(nil), nil, "")
		if reached := g.upstream.take(); got.status != http.StatusOK || len(reached) != 1 {
			g.Errorf("%s with a good token: the answer is %d %s, and %d requests reached the application; want 200 and one",
				target, got.status, got.body, len(reached))
		}
	}
}

// denyRevoked revokes a token that has just passed.
func (g *gateway) denyRevoked() {
	g.Helper()
	lost := g.token(claims{"jti": "lost"})
	if got := g.ask(http.MethodGet, "/orders", lost, nil, ""); got.status != http.StatusOK {
		g.Fatalf("before the revocation the answer is %d %s, want 200", got.status, got.body)
	}
	began := time.Now()
	g.Make(&v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: "lost"},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, TokenID: "lost"},
	})
	var got answer
	// A moment is what a watch takes; a gateway that kept an answer would need longer.
	for time.Since(began) < 5*time.Second {
		if got = g.ask(http.MethodGet, "/orders", lost, nil, ""); got.status != http.StatusOK {
			break
		}
	}
	g.Logf("the revoked token was denied %s after its revocation was sent", time.Since(began).Round(100*time.Microsecond))
	challenge := got.header.Get("WWW-Authenticate")
	if got.status != http.StatusUnauthorized || !strings.Contains(challenge, "Revoked") {
		g.Errorf("a revoked token: the answer is %d %s, want 401 and the reason", got.status, challenge)
	}
	g.upstream.take()
	if other := g.ask(http.MethodGet, "/orders", g.token(nil), nil, ""); other.status != http.StatusOK {
		g.Errorf("another token after the revocation: the answer is %d %s, want 200", other.status, other.body)
	}
	g.upstream.take()
}

// deniesWhileHanging stops Keyturn, as a machine that swaps does: connections stay, and nobody answers.
func (g *gateway) deniesWhileHanging(patience time.Duration) {
	g.Helper()
	g.keyturn.Signal(syscall.SIGSTOP)
	impatient := &http.Client{Timeout: 200 * time.Millisecond}
	testoperator.Eventually(g.TB, "Keyturn hangs", func() error {
		response, err := impatient.Get("http://" + g.keyturn.Health + "/healthz")
		if err == nil {
			return errors.Join(errors.New("it answers"), response.Body.Close())
		}
		return nil
	})
	began := time.Now()
	got := g.ask(http.MethodGet, "/orders", g.token(nil), nil, "")
	took := time.Since(began)
	g.keyturn.Signal(syscall.SIGCONT)
	g.Logf("while Keyturn hung the answer was %d after %s", got.status, took.Round(10*time.Millisecond))
	if reached := g.upstream.take(); got.status < 500 || len(reached) != 0 || took > patience {
		g.Errorf("while Keyturn hung the answer was %d after %s, and %d requests reached the application; want an error of the gateway within %s",
			got.status, took, len(reached), patience)
	}
	testoperator.Eventually(g.TB, "the gateway allows again", func() error {
		if got := g.ask(http.MethodGet, "/orders", g.token(nil), nil, ""); got.status != http.StatusOK {
			return fmt.Errorf("%d %s", got.status, got.body)
		}
		return nil
	})
	g.upstream.take()
}

// deniesAlone is the gateway without Keyturn: it fails closed.
func (g *gateway) deniesAlone() {
	g.Helper()
	g.keyturn.Signal(syscall.SIGKILL)
	<-g.keyturn.Ended
	for name, token := range map[string]string{"a good token": g.token(nil), "no token": ""} {
		got := g.ask(http.MethodGet, "/orders", token, nil, "")
		if reached := g.upstream.take(); got.status < 500 || len(reached) != 0 {
			g.Errorf("%s without Keyturn: the answer is %d, and %d requests reached the application; want an error of the gateway", name, got.status, len(reached))
		}
	}
}

// behind is the stack with a gateway in front that listens there.
func (s *stack) behind(address string) *gateway { return &gateway{stack: s, address: address} }
