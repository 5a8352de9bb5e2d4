package authserver

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/session"
)

// pieces are what requests are put together from, good and bad alike.
var pieces = struct{ media, authorization, names, values, cookies []string }{
	media:         []string{mediaForm, mediaJSON, mediaForm + "; charset=x", "text/plain", ""},
	authorization: []string{"", "Basic d2ViOg==", "Basic d2ViOnNlY3JldA==", "Basic %", "Bearer x", "Bearer " + strangerToken, "Bearer", " "},
	names: []string{
		"grant_type", "refresh_token", "token", "token_type_hint", "client_id", "client_secret", "scope", "audience", "resource",
		"subject_token", "subject_token_type", "requested_token_type", "actor_token", "subject", "claims", "username", "password", "id_token", "",
	},
	values: []string{
		issuers.GrantRefreshToken, issuers.GrantTokenExchange, "password", tokenTypeID, tokenTypeJWT, "alice", "x", "",
		session.Prefix + strings.Repeat("A", 70), session.Prefix, "a.b.c", "orders:read", "shop-api", "https://a", "\x00", "é", "%zz", `"`,
	},
	cookies: []string{"", "__Secure-shop=x", "__Secure-shop=" + session.Prefix + strings.Repeat("A", 70), "__Secure-shop=x; __Secure-shop=y", "=;;", "\x00"},
}

// body draws one that has the form of either media type more or less, or none.
func body(t *rapid.T) string {
	name, value := rapid.SampledFrom(pieces.names), rapid.SampledFrom(pieces.values)
	var pairs []string
	for range rapid.IntRange(0, 6).Draw(t, "parameters") {
		pairs = append(pairs, name.Draw(t, "name"), value.Draw(t, "value"))
	}
	var b strings.Builder
	switch rapid.SampledFrom([]string{"form", "json", "text"}).Draw(t, "form") {
	case "form":
		for pair := range slices.Chunk(pairs, 2) {
			b.WriteString(pair[0] + "=" + pair[1] + "&")
		}
	case "json":
		b.WriteString("{")
		for i, pair := range slices.Collect(slices.Chunk(pairs, 2)) {
			if i > 0 {
				b.WriteString(",")
			}
			quote := rapid.SampledFrom([]string{`"`, `"`, `"`, ``, `["`}).Draw(t, "quote")
			b.WriteString(`"` + pair[0] + `":` + quote + pair[1] + strings.ReplaceAll(quote, `["`, `"]`))
		}
		b.WriteString("}")
	default:
		b.WriteString(rapid.String().Draw(t, "text"))
	}
	return b.String()
}

// TestWhoeverKnowsNothingGetsNothing sends all sorts of requests: no token comes out, and no session begins or ends by any.
func TestWhoeverKnowsNothingGetsNothing(t *testing.T) {
	w := newWorld(t)
	w.spec().RateLimits.LoginPerAddress, w.spec().RateLimits.LoginPerUser = 100000, 100000
	// To give up what is worth nothing is granted to everybody.
	idle := []string{issuers.PathRevoke, issuers.PathSessionLogout, issuers.PathSessionEndAll}
	paths := slices.Sorted(maps.Keys(w.endpoints))
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom(paths).Draw(t, "path")
		r := httptest.NewRequest(http.MethodPost, issuerURL, strings.NewReader(body(t)))
		r.Header = http.Header{
			"Content-Type":  {rapid.SampledFrom(pieces.media).Draw(t, "media")},
			"Authorization": {rapid.SampledFrom(pieces.authorization).Draw(t, "authorization")},
			"Cookie":        {rapid.SampledFrom(pieces.cookies).Draw(t, "cookie")},
			"Origin":        {origin}, headerCSRF: {"1"},
		}
		if r.Header.Get("Authorization") == "" {
			r.Header.Del("Authorization")
		}
		a := w.send(r, path)
		if a.StatusCode < 300 && !slices.Contains(idle, path) {
			t.Errorf("%s answers %d", path, a.StatusCode)
		}
		if a.StatusCode >= 500 {
			t.Errorf("%s answers %d, as if it were a fault of ours", path, a.StatusCode)
		}
		if a.text("access_token") != "" || w.store.total() != 0 || len(w.denied) != 0 || len(w.before) != 0 {
			t.Errorf("%s did something", path)
		}
	})
}
