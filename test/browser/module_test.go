package browser

import (
	"fmt"
	"net/http"
	"testing"
)

// TestRestore loads the page again: the token is gone, the cookie is not.
func TestRestore(t *testing.T) {
	s := newScripted(t)
	b := newTab(t)
	b.open(s.URL)
	if evaluate[bool](b, `session.restore()`) {
		t.Error("a browser without a cookie is logged in")
	}
	b.wantEvents("") // it was not logged in, so nothing has ended
	evaluate[any](b, `session.login('alice', 'correct')`)
	b.open(s.URL)
	if got := evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`); got != http.StatusOK {
		t.Errorf("the first call of a new page is answered %d", got)
	}
	if !evaluate[bool](b, `session.restore()`) {
		t.Error("the login was not restored")
	}
	if got := evaluate[string](b, `session.claims.sub`); got != "alice" {
		t.Errorf("the claims are about %q", got)
	}
	s.wantAsked("refresh", 2) // the one that was refused, and one for the new page
}

// TestExpired refreshes before the call when it is known that the API would refuse the token.
func TestExpired(t *testing.T) {
	s := newScripted(t)
	s.expires = 0.001
	b := s.loggedIn("/")
	s.script(func() { s.expires = 600 })
	if got := evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`); got != http.StatusOK {
		t.Errorf("the call is answered %d", got)
	}
	if got := len(s.seen()); got != 1 {
		t.Errorf("the API was called %d times, want once, with the new token", got)
	}
	s.wantAsked("refresh", 1)
}

// TestLogout ends the login in every tab, and only if the issuer has ended it.
func TestLogout(t *testing.T) {
	for method, asked := range map[string]string{"logout": "logout", "logoutEverywhere": "logout-all"} {
		t.Run(method, func(t *testing.T) {
			s := newScripted(t)
			one := s.loggedIn("/")
			two := one.another()
			two.open(s.URL)
			evaluate[bool](two, `session.restore()`)
			one.wantTrue(`events.includes('shared')`)
			s.script(func() {
				s.answer = func(w http.ResponseWriter, _ string, times int) bool {
					if times == 1 {
						fail(w, http.StatusServiceUnavailable, "temporarily_unavailable")
					}
					return times == 1
				}
			})
			if got := evaluate[string](one, `code(session.`+method+`())`); got != "temporarily_unavailable" {
				t.Errorf("a logout that failed rejects with %q", got)
			}
			if !evaluate[bool](one, `session.loggedIn`) {
				t.Error("the page says that a logout has happened that has not")
			}
			evaluate[any](one, `session.`+method+`()`)
			two.wantTrue(`events.includes('logout')`)
			one.wantEvents("login shared logout")
			s.wantAsked(asked, 2)
			for _, b := range []*tab{one, two} {
				if evaluate[bool](b, `session.loggedIn`) || evaluate[bool](b, `session.restore()`) {
					t.Error("a tab is still logged in")
				}
			}
		})
	}
}

// TestBodies sends once more what can be sent once more.
func TestBodies(t *testing.T) {
	for name, test := range map[string]struct {
		call       string
		wantStatus int
		wantBodies []string
	}{
		"text": {`session.fetch('/api/', { method: 'POST', body: 'one bell' })`, 200, []string{"one bell", "one bell"}},
		"Request": {`session.fetch(new Request('/api/', { method: 'POST', body: 'one bell' }))`,
			200, []string{"one bell", "one bell"}},
		"stream": {`session.fetch('/api/', { method: 'POST', duplex: 'half', body: new Blob(['one bell']).stream() })`,
			401, []string{"one bell"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			b := s.loggedIn("/")
			s.expire()
			if got := evaluate[int](b, test.call+`.then((answer) => answer.status)`); got != test.wantStatus {
				t.Errorf("the call is answered %d, want %d", got, test.wantStatus)
			}
			var bodies []string
			for _, call := range s.seen() {
				bodies = append(bodies, call.body)
			}
			if fmt.Sprint(bodies) != fmt.Sprint(test.wantBodies) {
				t.Errorf("the API got %q, want %q", bodies, test.wantBodies)
			}
			s.wantAsked("refresh", 1) // also for the stream, so that its next call succeeds
			if got := evaluate[int](b, test.call+`.then((answer) => answer.status)`); got != http.StatusOK {
				t.Errorf("the next call is answered %d", got)
			}
		})
	}
}
