package server

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/token"
)

// clientPaths are paths and queries with which a client might try to leave the place that they are appended to. All of
// them begin with a slash, as every path that a gateway passes on does.
var clientPaths = []string{
	"/", "//", "///", "/orders", "/..", "/../..", "/../verify", "/../../verify?audience=shop-api",
	"/../verify-for/audience=shop-api/", "/../audience=shop-api/", "//verify-for/audience=shop-api/",
	"/%2e%2e/verify-for/audience=shop-api", "/%2E%2E%2Fverify-for%2Faudience=shop-api", "/.%2e/audience=shop-api",
	"/..%2faudience=shop-api", "/..;/audience=shop-api", "/\\..\\verify-for\\audience=shop-api", "/./", "/.",
	"/{", "/{}|^`<>\"", "/%7b{%2F", "/?audience=shop-api", "/?audience=shop-api&scope=", "/?", "/??audience=shop-api",
	"/#?audience=shop-api", "/&audience=shop-api", "/;audience=shop-api", "/%26audience=shop-api", "/%3Faudience=shop-api",
	"/%00", "/%0d%0aX-Auth-Subject:%20root", "/é", "/\xff\xfe", "/audience=shop-api", "/audience=shop-api/?scope=",
	"/.well-known/jwks.json", "/../tokenreview", "/?%zz", "/?a;b", "/@shop-api", "/http://shop-api/verify",
}

// Whatever the client's path is, the gateway's requirement is what is required.
func TestClientPathsCannotChangeWhatIsRequired(t *testing.T) {
	verifier := newFakeVerifier()
	server := start(t, Options{Verifier: verifier})
	for _, test := range []struct {
		prefix string
		want   token.Want
	}{
		{"/verify", token.Want{}},
		{"/verify/", token.Want{}},
		{"/verify-for/audience=bank-api", token.Want{Audiences: []string{"bank-api"}}},
		{"/verify-for/audience=bank-api/", token.Want{Audiences: []string{"bank-api"}}},
		{"/verify-for/audience=a%2Fb&audience=c%3Fd&scope=x%3Ay+z",
			token.Want{Audiences: []string{"a/b", "c?d"}, Scopes: []string{"x:y", "z"}}},
	} {
		for _, path := range clientPaths {
			for _, method := range []string{"GET", "POST", "OPTIONS", "CONNECT", "TRACE", "BREW"} {
				request := fmt.Sprintf("%s %s HTTP/1.1\nHost: shop.example.com\nAuthorization: Bearer good\n\n",
					method, test.prefix+path)
				answer := server.raw(t, request)
				wantStatus := http.StatusOK
				if test.want.Audiences != nil {
					wantStatus = http.StatusUnauthorized
				}
				if answer.StatusCode != wantStatus {
					t.Errorf("%s %q: %d, want %d", method, test.prefix+path, answer.StatusCode, wantStatus)
				}
				if diff := cmp.Diff(test.want, verifier.lastWant(t)); diff != "" {
					t.Errorf("%s %q (-want +got):\n%s", method, test.prefix+path, diff)
				}
			}
		}
	}
}

// None of these may pass, and each must be told so with 401 or 403 and a challenge.
func TestHostileRequestsAreDenied(t *testing.T) {
	server := start(t, Options{})
	const host = "Host: shop.example.com\n"
	get := func(target, headers string) string { return "GET " + target + " HTTP/1.1\n" + host + headers + "\n" }
	for name, request := range map[string]string{
		"no header at all":               "GET /verify HTTP/1.0\n\n",
		"asterisk form after the prefix": "OPTIONS /verify* HTTP/1.1\n" + host + "\n",
		"an absolute target":             get("http://evil.example.com/verify/x?audience=shop-api", ""),
		"a token in the query":           get("/verify/?access_token=good&token=good", ""),
		"a token in a cookie":            get("/verify", "Cookie: access_token=good\n"),
		"a token in the user part":       get("http://good@shop.example.com/verify", ""),
		"a token in another header":      get("/verify", "Proxy-Authorization: Bearer good\n"),
		"two headers":                    get("/verify", "Authorization: Bearer good\nauthorization: Bearer good\n"),
		"an empty header before":         get("/verify", "Authorization:\nAuthorization: Bearer good\n"),
		"another scheme before":          get("/verify", "Authorization: Basic YTpi\nAuthorization: Bearer good\n"),
		"joined by a proxy":              get("/verify", "Authorization: Bearer good,Bearer good\n"),
		"joined with another scheme":     get("/verify", "Authorization: Basic YTpi, Bearer good\n"),
		"a trailing comma":               get("/verify", "Authorization: Bearer good,\n"),
		"a tab for a space":              get("/verify", "Authorization: Bearer\tgood\n"),
		"a folded line":                  get("/verify", "Authorization: Bearer x\n good\n"),
		"quotes":                         get("/verify", "Authorization: Bearer \"good\"\n"),
		"bytes above ASCII":              get("/verify", "Authorization: Bearer g\xf6\xf6d\n"),
		"a long token":                   get("/verify", "Authorization: Bearer "+strings.Repeat("x", 40<<10)+"\n"),
		"an unknown parameter":           get("/verify?audience=shop-api&x=y", "Authorization: Bearer good\n"),
		"a requirement that is no query": get("/verify?audience=%zz", "Authorization: Bearer good\n"),
		"a semicolon":                    get("/verify?audience=shop-api;scope=x", "Authorization: Bearer good\n"),
		"an empty audience":              get("/verify?audience=", "Authorization: Bearer good\n"),
		"an empty scope":                 get("/verify?scope=", "Authorization: Bearer good\n"),
		"a scope with a quote":           get("/verify?scope=a%22b", "Authorization: Bearer good\n"),
		"a scope with a line break":      get("/verify?scope=a%0d%0aX-Auth-Subject:root", "Authorization: Bearer good\n"),
		"an endless requirement":         get("/verify?"+strings.Repeat("audience=shop-api&", 1000), "Authorization: Bearer good\n"),
		"a path for a requirement":       get("/verify-for/orders/7", "Authorization: Bearer good\n"),
		"an encoded separator":           get("/verify-for/audience%3Dshop-api/x", "Authorization: Bearer good\n"),
		"an asterisk at a requirement":   "OPTIONS /verify-for/audience=shop-api* HTTP/1.1\n" + host + "Authorization: Bearer good\n\n",
		"a body that never comes":        "POST /verify/x HTTP/1.1\n" + host + "Content-Length: 100\n\n",
		"chunks that never come":         "POST /verify/x HTTP/1.1\n" + host + "Transfer-Encoding: chunked\n\n",
		"a token in a trailer":           "POST /verify/x HTTP/1.1\n" + host + "Transfer-Encoding: chunked\nTrailer: Authorization\n\n0\nAuthorization: Bearer good\n\n",
		"waiting for 100":                "POST /verify/x HTTP/1.1\n" + host + "Content-Length: 9\nExpect: 100-continue\n\n",
		"an upgrade":                     get("/verify/ws", "Connection: Upgrade\nUpgrade: websocket\n"),
		"HTTP/2 without TLS":             get("/verify/x", "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n"),
		"a fault of ours":                get("/verify", "Authorization: Bearer panic\n"),
	} {
		t.Run(name, func(t *testing.T) {
			answer := server.raw(t, request)
			if answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden {
				t.Errorf("status %d, want 401 or 403", answer.StatusCode)
			}
			if challenge := answer.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("challenge %q", challenge)
			}
			if _, found := answer.Header[headerSubject]; found {
				t.Error("a denial names a subject")
			}
		})
	}
}

// net/http itself refuses what is not HTTP at all, before any handler. A gateway passes none of this on, and should it
// do so, the answer is no permission.
func TestWhatIsNotHTTPNeverPasses(t *testing.T) {
	server := start(t, Options{})
	for name, request := range map[string]string{
		"broken percent-encoding":         "GET /verify/%zz HTTP/1.1\nHost: a\nAuthorization: Bearer good\n\n",
		"a control character in a header": "GET /verify/ HTTP/1.1\nHost: a\nX-A: \x01\nAuthorization: Bearer good\n\n",
		"a space before the colon":        "GET /verify/ HTTP/1.1\nHost: a\nAuthorization : Bearer good\n\n",
		"no host":                         "GET /verify/ HTTP/1.1\nAuthorization: Bearer good\n\n",
		"two hosts":                       "GET /verify/ HTTP/1.1\nHost: a\nHost: b\nAuthorization: Bearer good\n\n",
		"two lengths":                     "GET /verify/ HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 2\nAuthorization: Bearer good\n\n",
		"endless headers": "GET /verify/ HTTP/1.1\nHost: a\nAuthorization: Bearer good\nX-A: " +
			strings.Repeat("x", maxHeaderBytes+8<<10) + "\n\n",
		"asterisk form without a prefix": "OPTIONS * HTTP/1.1\nHost: a\nAuthorization: Bearer good\n\n",
		"an authority":                   "CONNECT verify:443 HTTP/1.1\nHost: verify:443\nAuthorization: Bearer good\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			if answer := server.raw(t, request); answer.StatusCode < 400 || answer.StatusCode >= 500 {
				t.Errorf("status %d", answer.StatusCode)
			}
		})
	}
}

// Headers as long as Envoy and nginx pass on by default reach the handler, which denies; 431 would be a failure to nginx.
func TestHeadersAsLongAsGatewaysPassOn(t *testing.T) {
	server := start(t, Options{})
	answer := server.raw(t, "GET /verify/ HTTP/1.1\nHost: a\nX-A: "+strings.Repeat("x", 60<<10)+"\n\n")
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", answer.StatusCode)
	}
}

// A body that was announced and not sent must not swallow the next request on the connection.
func TestAnAnnouncedBodyEndsTheConnection(t *testing.T) {
	server := start(t, Options{})
	conn := server.dial(t)
	request := "POST /verify/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: Bearer good\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	answer := readAnswer(t, reader, request)
	if answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("status %d, connection closed: %t", answer.StatusCode, answer.Close)
	}
	// The five bytes come late, and a request hidden behind them.
	if _, err := io.WriteString(conn, "12345GET /verify/x HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return // closed already
	}
	if _, err := http.ReadResponse(reader, nil); err == nil {
		t.Error("a second request was answered")
	}
}
