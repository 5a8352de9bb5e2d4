package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/keyturn/keyturn/internal/issuers"
)

// tokenEndpoint serves the token endpoint on a real connection.
func (w *world) tokenEndpoint(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.ServeEndpoint(rw, r, w.authority(), issuers.PathToken, RequestInfo{Host: host, Path: "/shop"})
	}))
	t.Cleanup(server.Close)
	return server
}

// TestOAuth2ForGo is golang.org/x/oauth2 as it is. Of itself it tries Basic authentication first.
func TestOAuth2ForGo(t *testing.T) {
	for name, test := range map[string]struct {
		config  oauth2.Config
		refused bool
	}{
		"as it is":             {config: oauth2.Config{ClientID: "web"}},
		"in parameters":        {config: oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{AuthStyle: oauth2.AuthStyleInParams}}},
		"in the header":        {config: oauth2.Config{ClientID: "web", Endpoint: oauth2.Endpoint{AuthStyle: oauth2.AuthStyleInHeader}}},
		"without a client":     {config: oauth2.Config{}},
		"with a secret":        {config: oauth2.Config{ClientID: "web", ClientSecret: "s"}, refused: true},
		"a secret in a header": {config: oauth2.Config{ClientID: "web", ClientSecret: "s", Endpoint: oauth2.Endpoint{AuthStyle: oauth2.AuthStyleInHeader}}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.config.Endpoint.TokenURL = w.tokenEndpoint(t).URL
			opened := w.opened()
			source := test.config.TokenSource(context.Background(), &oauth2.Token{RefreshToken: opened.text("refresh_token")})
			used := opened.text("refresh_token")
			for range 3 {
				got, err := source.Token()
				if test.refused {
					var refused *oauth2.RetrieveError
					if !errors.As(err, &refused) || refused.ErrorCode != codeInvalidClient {
						t.Fatalf("error %v, want %s", err, codeInvalidClient)
					}
					// Nothing was spent: without the secret it works.
					w.refreshWith(used, "client_id", "web").want(t, http.StatusOK, "")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got.RefreshToken == used || got.TokenType != "Bearer" || got.Expiry.IsZero() {
					t.Fatalf("type %s, expiry %s, a new refresh token: %t", got.TokenType, got.Expiry, got.RefreshToken != used)
				}
				w.claims(got.AccessToken)
				used = got.RefreshToken
				// The next call refreshes again.
				source = test.config.TokenSource(context.Background(), &oauth2.Token{RefreshToken: used, Expiry: time.Unix(1, 0)})
			}
		})
	}
}
