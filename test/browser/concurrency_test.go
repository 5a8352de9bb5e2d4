package browser

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// barrier lets requests wait for each other: they are answered when all of them are there.
func barrier(n int) func() {
	var all sync.WaitGroup
	all.Add(n)
	return func() {
		all.Done()
		all.Wait()
	}
}

// TestOneRefreshForManyCalls has fifty calls find out at the same moment that their token is no longer good.
func TestOneRefreshForManyCalls(t *testing.T) {
	for _, path := range []string{"/", "/plain"} {
		t.Run(path, func(t *testing.T) {
			const calls = 50
			s := newScripted(t)
			b := s.loggedIn(path)
			s.expire()
			arrive, first := barrier(calls), make(chan struct{}, calls)
			s.script(func() {
				s.api = func(w http.ResponseWriter, _ *http.Request) bool {
					select {
					case first <- struct{}{}: // one of the first fifty
						arrive()
						w.WriteHeader(http.StatusUnauthorized)
						return true
					default:
						return false
					}
				}
			})
			got := evaluate[[]int](b, fmt.Sprintf(
				`Promise.all(Array.from({length: %d}, (_, i) => session.fetch('/api/' + i)))
					.then((answers) => answers.map((answer) => answer.status))`, calls))
			for _, status := range got {
				if status != http.StatusOK {
					t.Fatalf("the calls are answered %v", got)
				}
			}
			s.wantAsked("refresh", 1)
			if got := len(s.seen()); got != 2*calls {
				t.Errorf("the API was called %d times, want each of %d calls once more", got, calls)
			}
			b.wantEvents("login refresh" + strings.Repeat(" retry", calls))
		})
	}
}

// TestOneFailureForManyCalls has fifty calls share what the refresh says, also when it fails.
func TestOneFailureForManyCalls(t *testing.T) {
	const calls = 50
	s := newScripted(t)
	b := s.loggedIn("/")
	s.expire()
	arrive := barrier(calls)
	s.script(func() {
		s.api = func(w http.ResponseWriter, _ *http.Request) bool {
			arrive()
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		s.answer = func(w http.ResponseWriter, _ string, _ int) bool {
			fail(w, http.StatusTooManyRequests, "slow_down")
			return true
		}
	})
	got := evaluate[[]string](b, fmt.Sprintf(
		`Promise.all(Array.from({length: %d}, (_, i) => code(session.fetch('/api/' + i))))`, calls))
	for _, code := range got {
		if code != "slow_down" {
			t.Fatalf("the calls reject with %q", got)
		}
	}
	s.wantAsked("refresh", 1)
}

// TestOneRefreshForTwoTabs has a second tab want a refresh while that of the first is under way.
func TestOneRefreshForTwoTabs(t *testing.T) {
	for _, path := range []string{"/", "/slow"} {
		t.Run(path, func(t *testing.T) {
			s := newScripted(t)
			one := s.loggedIn("/")
			two := one.another()
			two.open(s.URL + path)
			evaluate[bool](two, `session.restore()`)
			one.wantTrue(`events.includes('shared')`)
			s.wantAsked("refresh", 1)

			s.expire()
			release := make(chan struct{})
			s.script(func() {
				s.answer = func(_ http.ResponseWriter, what string, _ int) bool {
					if what == "refresh" {
						<-release
					}
					return false
				}
			})
			const start = `globalThis.answered = session.fetch('/api/orders').then((answer) => answer.status); 0`
			evaluate[int](one, start)
			one.wantTrue(`navigator.locks.query().then(({ held }) => held.length === 1)`)
			evaluate[int](two, start)
			two.wantTrue(`navigator.locks.query().then(({ pending }) => pending.length === 1)`)
			close(release)
			for _, b := range []*tab{one, two} {
				if got := evaluate[int](b, `answered`); got != http.StatusOK {
					t.Errorf("a tab's call is answered %d", got)
				}
			}
			s.wantAsked("refresh", 2)
			one.wantEvents("login shared refresh retry")
			two.wantEvents("refresh shared retry")
		})
	}
}

// TestSomebodyElse has another tab log in another user while a call of the first is under way.
func TestSomebodyElse(t *testing.T) {
	s := newScripted(t)
	one := s.loggedIn("/")
	two := one.another()
	two.open(s.URL)
	s.script(func() { s.subject = "bob" })
	s.api = func(w http.ResponseWriter, _ *http.Request) bool {
		if len(s.seen()) > 1 {
			return false
		}
		evaluate[any](two, `session.login('bob', 'correct')`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	got := evaluate[string](one, `code(session.fetch('/api/', { method: 'POST', body: 'one bell' }))`)
	if got != "subject_changed" || len(s.seen()) != 1 {
		t.Errorf("bob did what alice asked for: %q, %+v", got, s.seen())
	}
	one.wantTrue(`session.claims.sub === 'bob'`)
}

// TestLogoutDuringRefresh logs out while a refresh is under way, whose token must not come after the end.
func TestLogoutDuringRefresh(t *testing.T) {
	for _, path := range []string{"/", "/plain"} {
		t.Run(path, func(t *testing.T) {
			s := newScripted(t)
			b := s.loggedIn(path)
			s.expire()
			arrived, release := make(chan struct{}), make(chan struct{})
			s.script(func() {
				s.answer = func(_ http.ResponseWriter, what string, _ int) bool {
					if what == "refresh" {
						close(arrived)
						<-release
					}
					return false
				}
			})
			evaluate[int](b, `globalThis.called = code(session.fetch('/api/orders')); 0`)
			<-arrived
			evaluate[int](b, `globalThis.left = session.logout(); 0`)
			close(release)
			evaluate[any](b, `Promise.all([called, left])`)
			if evaluate[bool](b, `session.loggedIn`) {
				t.Error("somebody is logged in after the logout")
			}
		})
	}
}

// TestLeavingThePage loads the page anew while a refresh is under way. Its cookie counts, or the new page would come with
// a refresh token that has been used.
func TestLeavingThePage(t *testing.T) {
	s := newScripted(t)
	b := s.loggedIn("/")
	s.expire()
	arrived, release := make(chan struct{}), make(chan struct{})
	s.script(func() {
		s.answer = func(_ http.ResponseWriter, _ string, times int) bool {
			if times == 1 {
				close(arrived)
				<-release
			}
			return false
		}
	})
	evaluate[int](b, `session.fetch('/api/orders').catch(() => {}); 0`)
	<-arrived
	b.run(chromedp.Reload())
	close(release)
	testoperator.Eventually(t, "the cookie of the answer kept", func() error {
		of := network.GetCookiesParams{URLs: []string{s.URL + "/shop/session/refresh"}}
		jar, err := chromedp.Call(b.ctx, network.GetCookies, of)
		if err != nil || len(jar.Cookies) != 1 || jar.Cookies[0].Value != "refresh-2" {
			return fmt.Errorf("%d cookies, error %w", len(jar.Cookies), err)
		}
		return nil
	})
}
