package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
)

// maxDenialBytes bounds the body of a denial that is passed on.
const maxDenialBytes = 16 << 10

// identityHeaders tell the application who calls. They are the gateway's to set: what a client sends under these names
// is removed.
var identityHeaders = []string{"X-Auth-Subject", "X-Auth-Session", "X-Auth-Scopes", "X-Auth-Issuer", "X-Auth-Client"}

// guard lets a request through if Keyturn says that its token is good: forward authentication, as nginx's auth_request
// and Traefik's ForwardAuth do it.
type guard struct {
	client *http.Client
	verify string
	next   http.Handler
}

func newGuard(options Options, next http.Handler) *guard {
	verify := options.Keyturn.JoinPath("verify")
	if options.Audience != "" {
		verify.RawQuery = url.Values{"audience": {options.Audience}}.Encode()
	}
	return &guard{
		client: &http.Client{
			Transport: options.Transport, Timeout: keyturnTimeout,
			// Whoever answers with a redirect is not Keyturn. Following it would take the token there.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		verify: verify.String(), next: next,
	}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verdict, err := g.ask(r.Context(), r.Header["Authorization"])
	if err != nil {
		log.Print(err)
		unavailable(w)
		return
	}
	defer func() { _ = verdict.Body.Close() }()
	w.Header().Set("Cache-Control", "no-store")
	if verdict.StatusCode != http.StatusOK {
		deny(w, verdict)
		return
	}
	for _, name := range identityHeaders {
		r.Header.Del(name)
		if value := verdict.Header.Get(name); value != "" {
			r.Header.Set(name, value)
		}
	}
	g.next.ServeHTTP(w, r)
}

// ask asks Keyturn for its verdict: 200, 401 or 403. Every Authorization header goes along, because a request with more
// than one is denied.
func (g *guard) ask(ctx context.Context, authorization []string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.verify, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking Keyturn: %w", err)
	}
	request.Header["Authorization"] = authorization
	verdict, err := g.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking Keyturn: %w", err)
	}
	switch verdict.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusForbidden:
		return verdict, nil
	}
	_ = verdict.Body.Close()
	return nil, fmt.Errorf("asking Keyturn: %s is no verdict: check that -keyturn leads to Keyturn itself", verdict.Status)
}

// deny passes a denial on as it is: WWW-Authenticate and the body say why.
func deny(w http.ResponseWriter, verdict *http.Response) {
	for _, name := range []string{"WWW-Authenticate", "Content-Type", "Retry-After"} {
		if value := verdict.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(verdict.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(verdict.Body, maxDenialBytes))
}

// writeJSON writes a small document. An error means that the browser has gone.
func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(document)
}
