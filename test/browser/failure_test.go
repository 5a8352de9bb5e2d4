package browser

import (
	"io"
	"net/http"
	"testing"
)

// TestDenied tells which answers of the API are for the caller.
func TestDenied(t *testing.T) {
	for name, test := range map[string]struct {
		status, wantCalls, wantRefreshes int
	}{
		"401 also with a new token": {http.StatusUnauthorized, 2, 1},
		"403":                       {http.StatusForbidden, 1, 0},
		"500":                       {http.StatusInternalServerError, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			b := s.loggedIn("/")
			s.script(func() {
				s.api = func(w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(test.status)
					return true
				}
			})
			got := evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`)
			if got != test.status {
				t.Errorf("the call is answered %d, want %d as it is", got, test.status)
			}
			if got := len(s.seen()); got != test.wantCalls {
				t.Errorf("the API was called %d times, want %d", got, test.wantCalls)
			}
			s.wantAsked("refresh", test.wantRefreshes)
			if !evaluate[bool](b, `session.loggedIn`) {
				t.Error("the login is gone")
			}
		})
	}
}

// TestLoginEnds is the one answer that ends a login.
func TestLoginEnds(t *testing.T) {
	s := newScripted(t)
	one := s.loggedIn("/")
	two := one.another()
	two.open(s.URL)
	evaluate[bool](two, `session.restore()`)
	one.wantTrue(`events.includes('shared')`)
	s.expire()
	s.script(func() {
		s.answer = func(w http.ResponseWriter, _ string, _ int) bool {
			fail(w, http.StatusBadRequest, "invalid_grant")
			return true
		}
	})
	if got := evaluate[string](one, `code(session.fetch('/api/orders'))`); got != "login_required" {
		t.Errorf("the call rejects with %q", got)
	}
	one.wantEvents("login shared ended")
	two.wantTrue(`events.includes('ended') && !session.loggedIn && session.claims === null`)
	calls := len(s.seen())
	if got := evaluate[string](one, `code(session.fetch('/api/orders'))`); got != "login_required" {
		t.Errorf("the next call rejects with %q", got)
	}
	if len(s.seen()) != calls {
		t.Error("a call without a login was sent")
	}
	s.wantAsked("refresh", 2)
}

// TestLoginStays has everything else that a refresh can meet: the login stays, and the next page is logged in.
func TestLoginStays(t *testing.T) {
	answer := func(status int, retryAfter, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		answer    func(http.ResponseWriter)
		wantCode  string
		wantAfter float64 // seconds
		wantAsked int
	}{
		"503":       {answer(503, "7", `{"error":"temporarily_unavailable"}`), "temporarily_unavailable", 7, 1},
		"429":       {answer(429, "100000", `{"error":"slow_down"}`), "slow_down", 60, 1},
		"429, date": {answer(429, "Fri, 31 Dec 2100 23:59:59 GMT", `{"error":"slow_down"}`), "slow_down", 60, 1},
		"502":       {answer(502, "", `<h1>Bad Gateway</h1>`), "invalid_response", 1, 1},
		"404":       {answer(404, "", `not found`), "invalid_response", 0, 1},
		"200":       {answer(200, "", `<h1>Welcome to our Wi-Fi</h1>`), "invalid_response", 0, 1},
		"null":      {answer(200, "", `null`), "invalid_response", 0, 1},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "/")
			w.WriteHeader(http.StatusFound)
		}, "network", 1, 2},
		"cut": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "network", 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			b := s.loggedIn("/")
			s.expire()
			s.script(func() {
				s.answer = func(w http.ResponseWriter, _ string, _ int) bool {
					test.answer(w)
					return true
				}
			})
			got := evaluate[struct {
				Name       string  `json:"name"`
				Code       string  `json:"code"`
				RetryAfter float64 `json:"retryAfter"`
			}](b, `session.fetch('/api/orders').then(() => ({}), ({ name, code, retryAfter }) => ({ name, code, retryAfter }))`)
			if got.Name != "SessionError" || got.Code != test.wantCode || got.RetryAfter != test.wantAfter {
				t.Errorf("the call rejects with %+v, want code %s and %v s", got, test.wantCode, test.wantAfter)
			}
			s.wantAsked("refresh", test.wantAsked)
			if !evaluate[bool](b, `session.loggedIn`) {
				t.Error("the login is gone")
			}
			b.wantEvents("login")
			if test.wantAfter > 1 { // long enough for the next line, however slow the machine is
				if got := evaluate[string](b, `code(session.fetch('/api/orders'))`); got != test.wantCode {
					t.Errorf("during the pause a call rejects with %q", got)
				}
				s.wantAsked("refresh", test.wantAsked)
			}
			s.script(func() { s.answer = nil })
			b.open(s.URL)
			if !evaluate[bool](b, `session.restore()`) {
				t.Error("the next page is not logged in")
			}
		})
	}
}

// TestLostAnswer loses the answer to a refresh after the issuer has given it: it is asked for again at once, because the
// issuer repeats it only for a short time.
func TestLostAnswer(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/")
	s.expire()
	s.script(func() {
		s.answer = func(_ http.ResponseWriter, _ string, times int) bool {
			if times == 1 {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	})
	if got := evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`); got != http.StatusOK {
		t.Errorf("the call is answered %d", got)
	}
	s.wantAsked("refresh", 2)
	b.wantEvents("login refresh retry")
}

// TestWrongPassword leaves things as they are.
func TestWrongPassword(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/")
	if got := evaluate[string](b, `code(session.login('alice', 'wrong'))`); got != "invalid_grant" {
		t.Errorf("a wrong password rejects with %q", got)
	}
	b.wantEvents("login")
	if got := evaluate[int](b, `session.fetch('/api/orders').then((answer) => answer.status)`); got != http.StatusOK {
		t.Errorf("a call after a wrong password is answered %d", got)
	}
}

// TestSilentIssuer waits for an issuer that never answers, twice: both attempts are over before the issuer's grace
// window is, which is 10 s by default.
func TestSilentIssuer(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/hasty")
	s.expire()
	release := make(chan struct{})
	s.script(func() {
		s.answer = func(http.ResponseWriter, string, int) bool {
			<-release
			return true
		}
	})
	evaluate[int](b, `timeouts.length = 0`)
	if got := evaluate[string](b, `code(session.fetch('/api/orders'))`); got != "network" {
		t.Errorf("the call rejects with %q", got)
	}
	close(release)
	s.wantAsked("refresh", 2)
	if got := evaluate[int](b, `timeouts.reduce((sum, timeout) => sum + timeout)`); got >= 10_000 {
		t.Errorf("the attempts may take %d ms together", got)
	}
}

// TestLoginEndsPause has somebody log in while the issuer wants no refreshes: the new login has its own.
func TestLoginEndsPause(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/")
	s.expire()
	s.script(func() {
		s.answer = func(w http.ResponseWriter, what string, times int) bool {
			if what != "refresh" || times > 1 {
				return false
			}
			w.Header().Set("Retry-After", "60")
			fail(w, http.StatusTooManyRequests, "slow_down")
			return true
		}
	})
	if got := evaluate[string](b, `code(session.fetch('/api/orders'))`); got != "slow_down" {
		t.Errorf("the call rejects with %q", got)
	}
	evaluate[any](b, `session.login('alice', 'correct')`)
	s.expire()
	if got := evaluate[string](b, `code(session.fetch('/api/orders'))`); got != "none" {
		t.Errorf("after the login a call rejects with %q", got)
	}
}
