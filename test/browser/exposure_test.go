package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestForeignOrigin calls an origin that is not the API's, and an API that redirects to it.
func TestForeignOrigin(t *testing.T) {
	s := newScripted(t)
	var mu sync.Mutex
	var got []string
	foreign := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "authorization")
		if r.Method == http.MethodOptions {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("Authorization"))
	}))
	t.Cleanup(foreign.Close)
	s.api = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/away" {
			http.Redirect(w, r, foreign.URL, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	b := s.loggedIn("/")
	for _, input := range []string{`'%s/'`, `new URL('%s/')`, `new Request('%s/')`} {
		call := fmt.Sprintf(`session.fetch(`+input+`).then((answer) => answer.status)`, foreign.URL)
		if status := evaluate[int](b, call); status != http.StatusOK {
			t.Errorf("%s is answered %d", call, status)
		}
	}
	if code := evaluate[string](b, `code(session.fetch('/api/away'))`); !strings.HasPrefix(code, "TypeError") {
		t.Errorf("a redirect to a foreign origin gives %q", code)
	}
	mu.Lock()
	for _, header := range got {
		if header != "" {
			t.Errorf("the foreign origin got Authorization %q", header)
		}
	}
	if len(got) != 3 {
		t.Errorf("the foreign origin got %d requests, want those that asked for it: 3", len(got))
	}
	mu.Unlock()

	allowed := fmt.Sprintf(`createSession({ issuer: '/shop', apiOrigins: ['%s'] })
		.fetch('%[1]s/').then((answer) => answer.status)`, foreign.URL)
	if status := evaluate[int](b, allowed); status != http.StatusOK {
		t.Errorf("%s is answered %d", allowed, status)
	}
	mu.Lock()
	defer mu.Unlock()
	if last := got[len(got)-1]; !strings.HasPrefix(last, "Bearer e30.") {
		t.Errorf("the allowed origin got Authorization %q", last)
	}
}

// TestNothingIsStored looks for the token wherever a page could leave it.
func TestNothingIsStored(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/")
	s.expire()
	evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`)
	for _, place := range []string{
		`JSON.stringify(localStorage)`, `JSON.stringify(sessionStorage)`, `JSON.stringify(history.state)`,
		`indexedDB.databases().then((list) => JSON.stringify(list))`, `caches.keys().then((list) => JSON.stringify(list))`,
	} {
		if got := evaluate[string](b, place); got != "{}" && got != "[]" && got != "null" {
			t.Errorf("%s is %s", place, got)
		}
	}
	for _, place := range []string{
		`document.cookie`, `location.href`, `document.documentElement.outerHTML`, `JSON.stringify(session)`,
		`Object.getOwnPropertyNames(session).join()`,
	} {
		if got := evaluate[string](b, place); strings.Contains(got, "e30.") || strings.Contains(got, "refresh-") {
			t.Errorf("%s holds a token: %s", place, got)
		}
	}
}
